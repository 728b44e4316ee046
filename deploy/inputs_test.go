package deploy

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// python returns the Python that scripts for images are tried with.
func python(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes")
	}
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	// packages_distributions came with 3.10.
	if exec.Command(program, "-c", "import sys; sys.exit(sys.version_info < (3, 10))").Run() != nil {
		t.Skip("python3 is older than 3.10")
	}
	return program
}

// inputsOf returns what a migration of apps reads, given as files by their
// paths: a line by what is in it.
func inputsOf(t *testing.T, program string, files map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(program, "steps/inputs.py", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// smallBench is a small bench. The hook of shop runs setup.run, which takes fields
// from fields.py; report.py is nothing to a migration.
var smallBench = map[string]string{
	"frappe/frappe/__init__.py":                    "__version__ = \"15.1.0\"\n",
	"frappe/frappe/hooks.py":                       "app_name = \"frappe\"\n",
	"frappe/frappe/migrate.py":                     "def run(): pass\n",
	"frappe/frappe/public/js/desk.js":              "1\n",
	"frappe/frappe/tests/test_migrate.py":          "1\n",
	"shop/shop/__init__.py":                        "__version__ = \"1.0.0\"\n",
	"shop/shop/hooks.py":                           "from . import __version__ as app_version\nfrom .brand import title as app_title\nafter_migrate = [\"shop.setup.run\"]\ndoc_events = {\"Item\": {\"validate\": \"shop.report.check\"}}\n",
	"shop/shop/brand.py":                           "title = \"Shop\"\n",
	"shop/shop/setup.py":                           "import frappe\nfrom shop import fields\n\ndef run():\n\tfrom shop.late import more\n\tfields.make()\n\tmore()\n\ndef other():\n\timport shop.report\n",
	"shop/shop/fields/__init__.py":                 "from .custom import make\n",
	"shop/shop/fields/custom.py":                   "from ..helper import label\n\ndef make():\n\treturn label()\n\ndef unused():\n\tfrom shop import report\n",
	"shop/shop/helper.py":                          "def label(): return 1\n",
	"shop/shop/late.py":                            "def more(): pass\n",
	"shop/shop/report.py":                          "def check(): pass\n",
	"shop/shop/patches.txt":                        "[pre_model_sync]\nshop.patches.fix #1\nexecute:print(1)\n",
	"shop/shop/patches/__init__.py":                "",
	"shop/shop/patches/fix.py":                     "def execute(): pass\n",
	"shop/shop/patches/gone.py":                    "def execute(): pass\n",
	"shop/shop/modules.txt":                        "Shop\n",
	"shop/shop/shop/doctype/order/order.json":      "{}\n",
	"shop/shop/shop/doctype/order/order.py":        "class Order: pass\n",
	"shop/shop/fixtures/custom_scripts/Order.js":   "1\n",
	"shop/shop/www/about.html":                     "about\n",
	"shop/shop/public/node_modules/x/package.json": "{}\n",
	"shop/package.json":                            "{}\n",
}

// TestInputs changes one file after the other: whatever a migration reads or
// runs has to be seen, and nothing else.
func TestInputs(t *testing.T) {
	program := python(t)
	before := inputsOf(t, program, smallBench)
	for _, tc := range []struct {
		name   string
		change map[string]string // a file, and what is added to it; "-" removes it
		want   string            // the first line that tells the two apart; empty for none
	}{
		{"the code of a hook", map[string]string{"shop/shop/setup.py": "# \n"}, "shop/setup.py\twhich after_migrate runs"},
		{"what it imports", map[string]string{"shop/shop/fields/custom.py": "x = 1\n"}, "shop/fields/custom.py\twhich shop/setup.py uses"},
		{"what that calls", map[string]string{"shop/shop/helper.py": "x = 1\n"}, "shop/helper.py\twhich shop/fields/custom.py uses"},
		{"what it imports while it runs", map[string]string{"shop/shop/late.py": "x = 1\n"}, "shop/late.py\twhich shop/setup.py uses"},
		{"what hooks.py imports", map[string]string{"shop/shop/brand.py": "x = 1\n"}, "shop/brand.py\twhich shop/hooks.py uses"},
		{"hooks.py", map[string]string{"shop/shop/hooks.py": "x = 1\n"}, "shop/hooks.py"},
		{"a package's own file", map[string]string{"shop/shop/__init__.py": "x = 1\n"}, "shop/__init__.py\twhich after_migrate runs"},
		{"a patch that is listed", map[string]string{"shop/shop/patches/fix.py": "# \n"}, "shop/patches/fix.py\twhich patches.txt lists"},
		{"a line of patches.txt", map[string]string{"shop/shop/patches.txt": "shop.patches.gone\n"}, "shop/patches.txt"},
		{"a document type", map[string]string{"shop/shop/shop/doctype/order/order.json": " "}, "shop/shop/doctype/order/order.json"},
		{"a fixture that is no JSON", map[string]string{"shop/shop/fixtures/custom_scripts/Order.js": "2\n"}, "shop/fixtures/custom_scripts/Order.js"},
		{"a page", map[string]string{"shop/shop/www/about.html": "us\n"}, "shop/www/about.html\ta page that the search index has"},
		{"Frappe's code", map[string]string{"frappe/frappe/migrate.py": "# \n"}, "frappe/migrate.py\tFrappe's own code"},
		{"an app that goes", map[string]string{"shop/shop/hooks.py": "-", "shop/shop/__init__.py": "-"}, "shop/__init__.py\twhich after_migrate runs"},
		{"an app that comes", map[string]string{"new/new/hooks.py": "app_name = 1\n"}, "new/hooks.py"},
		{"a hook that comes", map[string]string{"shop/shop/hooks.py": "before_migrate = \"shop.report.check\"\n"}, "shop/hooks.py"},
		{"a number of a version", map[string]string{"frappe/frappe/__init__.py": "__version__ = \"15.1.1\"\n"}, ""},
		{"a function that no migration calls", map[string]string{"shop/shop/report.py": "x = 1\n"}, ""},
		{"a controller", map[string]string{"shop/shop/shop/doctype/order/order.py": "x = 1\n"}, ""},
		{"a patch that is not listed", map[string]string{"shop/shop/patches/gone.py": "# \n"}, ""},
		{"assets and tests", map[string]string{"frappe/frappe/public/js/desk.js": "2\n", "frappe/frappe/tests/test_migrate.py": "2\n", "shop/package.json": " "}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := maps.Clone(smallBench)
			for name, text := range tc.change {
				if strings.HasPrefix(text, "__version__") {
					changed[name] = ""
				}
				changed[name] += text
				if text == "-" {
					delete(changed, name)
				}
			}
			got := firstDifference(before, inputsOf(t, program, changed))
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// firstDifference returns the first line that only one of two lists has,
// without its checksum.
func firstDifference(a, b []string) string {
	var found []string
	for _, pair := range [][2][]string{{a, b}, {b, a}} {
		for _, line := range pair[0] {
			// Why it counts is no difference.
			name, _, _ := strings.Cut(line, "\t")
			if !slices.ContainsFunc(pair[1], func(other string) bool { return other == name || strings.HasPrefix(other, name+"\t") }) {
				found = append(found, line[66:])
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}

// TestInputsInDoubt: where it can't be told what runs, all of the app's code
// counts.
func TestInputsInDoubt(t *testing.T) {
	program := python(t)
	for _, tc := range []struct{ name, file, text string }{
		{"hooks that are put together", "shop/shop/hooks.py", "after_migrate = [f\"shop.{x}\" for x in y]\n"},
		{"hooks that are added to", "shop/shop/hooks.py", "after_migrate = []\nafter_migrate += [name]\n"},
		{"hooks that are appended to", "shop/shop/hooks.py", "after_migrate = []\nafter_migrate.append(name)\n"},
		{"hooks from elsewhere", "shop/shop/hooks.py", "from shop.brand import *\n"},
		{"a hook from elsewhere", "shop/shop/hooks.py", "from shop.brand import after_migrate\n"},
		{"hooks that are set by their names", "shop/shop/hooks.py", "globals()[\"after\" + \"_migrate\"] = 1\n"},
		{"a hook that is not there", "shop/shop/hooks.py", "after_migrate = \"shop.nowhere.run\"\n"},
		{"a hook that can't be read", "shop/shop/setup.py", "def run(:\n"},
		{"a module by its name", "shop/shop/setup.py", "import importlib\ndef run():\n\timportlib.import_module(\"shop.\" + name)\n"},
		{"a function by its name", "shop/shop/setup.py", "import frappe\ndef run():\n\tfrappe.get_attr(name)()\n"},
		{"hooks of any name", "shop/shop/setup.py", "import frappe\ndef run():\n\tfrappe.get_hooks(name)\n"},
		{"a module that is not there", "shop/shop/setup.py", "from shop.generated import x\ndef run(): pass\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := maps.Clone(smallBench)
			files[tc.file] = tc.text
			lines := inputsOf(t, program, files)
			if !slices.ContainsFunc(lines, func(line string) bool {
				return strings.HasPrefix(line[66:], "shop/report.py\twhich may run: shop/") || strings.HasPrefix(line[66:], "shop/report.py\twhich may run: what shop/")
			}) {
				t.Errorf("report.py does not count:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
	// A hook may have those of other names run, in whatever app.
	files := maps.Clone(smallBench)
	files["shop/shop/setup.py"] = "import frappe\ndef run():\n\tfor one in frappe.get_hooks(\"shop_fields\"): frappe.get_attr(\"shop.late.more\")()\n"
	files["other/other/__init__.py"], files["other/other/made.py"] = "", "def fields(): pass\n"
	files["other/other/hooks.py"] = "shop_fields = \"other.made.fields\"\n"
	if lines := inputsOf(t, program, files); !slices.ContainsFunc(lines, func(line string) bool { return line[66:] == "other/made.py\twhich shop_fields runs" }) {
		t.Errorf("what a hook has another app run does not count:\n%s", strings.Join(lines, "\n"))
	}
}

// TestInputsPackages: a package that is no app may be a company's own, and change
// with it.
func TestInputsPackages(t *testing.T) {
	program := python(t)
	packages := t.TempDir()
	t.Setenv("PYTHONPATH", packages)
	listed := func(version, commit string) string {
		info := filepath.Join(packages, "shopkit-1.dist-info")
		if err := os.MkdirAll(info, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"METADATA": "Metadata-Version: 2.1\nName: shopkit\nVersion: " + version + "\n", "top_level.txt": "shopkit\n",
			"direct_url.json": `{"url": "https://git.example/shopkit", "vcs_info": {"vcs": "git", "commit_id": "` + commit + `"}}`,
		} {
			if err := os.WriteFile(filepath.Join(info, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		files := maps.Clone(smallBench)
		files["shop/shop/setup.py"] = "import shopkit\ndef run(): pass\n"
		lines := inputsOf(t, program, files)
		at := slices.IndexFunc(lines, func(line string) bool { return line[66:] == "Python package shopkit\twhich shop/setup.py uses" })
		if at < 0 {
			t.Fatalf("the package does not count:\n%s", strings.Join(lines, "\n"))
		}
		return lines[at]
	}
	first := listed("1.0", "aaaa")
	if again := listed("1.0", "aaaa"); again != first {
		t.Errorf("the same package is told apart: %s, %s", first, again)
	}
	if listed("1.1", "aaaa") == first || listed("1.0", "bbbb") == first {
		t.Error("a package that changed is not told apart")
	}
}

// TestCompare holds what a run concludes from the two lists.
func TestCompare(t *testing.T) {
	program := python(t)
	for _, tc := range []struct {
		name, migrate, down string
		changed             string // file of the new image with another text; empty for none
		broken              bool
		first               string // line of the file migration
		says                string
		exit                int
	}{
		{name: "the same", first: "none", says: "no migration is needed: no app changed what a migration reads or runs"},
		{name: "only setup.py changed", changed: "shop/shop/setup.py", first: "needed", says: "a migration is needed: shop/setup.py, which after_migrate runs, changed"},
		{name: "it is asked for", migrate: "yes", first: "needed", says: "a migration is needed: it was asked for"},
		{name: "the lists can't be made", broken: true, first: "needed", says: "a migration is needed: it can't be told what changed"},
		{name: "down, with a migration", changed: "shop/shop/setup.py", down: "shop is older", first: "needed", says: "Frappe does not migrate down: shop is older", exit: 1},
		{name: "down, without one", down: "shop is older", first: "none", says: "no migration is needed: no app changed what a migration reads or runs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, image := range []string{"old", "new"} {
				for name, text := range smallBench {
					if image == "new" && name == tc.changed {
						text += "# changed\n"
					}
					path := filepath.Join(dir, image, filepath.FromSlash(name))
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			// Of the engine it takes that a container runs, and a program in an image.
			docker := "#!/bin/sh\ncase $1 in\nps) echo id /srv/releases/1.0.0/compose.yaml ;;\ninspect) echo old ;;\nrun)\n\tshift 6\n\timage=$3\n\texec " + program + " -c \"$5\" \"$DIR/$image\" ;;\nesac\n"
			if tc.broken {
				docker = strings.Replace(docker, "exec "+program, "exec false", 1)
			}
			run := filepath.Join(dir, "run")
			if err := os.Mkdir(run, 0o755); err != nil {
				t.Fatal(err)
			}
			spec := runSpec{layout: layout{"/srv"}, kind: Release, version: "1.0.1", previous: "1.0.0", image: "new", project: "erp", migrate: tc.migrate == "yes", migratesDown: tc.down}
			files := map[string]string{"docker": docker, "settings": spec.settings(), "compare": stepScript("x", stepFile("compare.do"))}
			for _, name := range sharedFiles() {
				files[name] = stepFile(name)
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(run, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("sh", "compare")
			cmd.Dir, cmd.Env = run, append(os.Environ(), "DIR="+dir, "PATH="+run+":"+os.Getenv("PATH"))
			out, err := cmd.Output()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			if cmd.ProcessState.ExitCode() != tc.exit || lines[len(lines)-1] != tc.says {
				t.Errorf("%v: %s\nwant %s", err, out, tc.says)
			}
			text, err := os.ReadFile(filepath.Join(run, "migration"))
			if first, _, _ := strings.Cut(string(text), "\n"); err != nil || first != tc.first {
				t.Errorf("%v: found %q, want %s", err, text, tc.first)
			}
		})
	}
}
