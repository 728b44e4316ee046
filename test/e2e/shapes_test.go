package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// shape is an app that is described in another way than most.
type shape struct {
	repository, name string
	files            map[string]string
	// submodule is the folder of one that can't be fetched.
	submodule string
	// packages are those that it brings.
	packages []string
}

var shapes = []shape{
	{"acme/2-way.match", "two_way_match", map[string]string{
		"setup.py": `from setuptools import find_packages, setup

with open("requirements.txt") as f:
    install_requires = f.read().strip().split("\n")

from two_way_match.about import version

setup(name="two_way_match", version=version, packages=find_packages(), include_package_data=True, install_requires=install_requires)
`,
		"two_way_match/about.py": "version = \"0.0.1\"\n",
		"requirements.txt":       "frappe\n# of ours\niniconfig>=2,<3\n",
		".gitmodules":            "[submodule \"ui\"]\n\tpath = ui\n\turl = http://127.0.0.1:1/acme/ui\n",
	}, "ui", []string{"iniconfig"}},
	{"acme/by_poetry", "by_poetry", map[string]string{
		"pyproject.toml": `[tool.poetry]
name = "by_poetry"
version = "0.1.0"
description = "An app of poetry's"
authors = ["A. Author <author@example.com>"]

[tool.poetry.dependencies]
python = "^3.10"
pathspec = "^0.12.1"

[build-system]
requires = ["poetry-core>=1.9,<3"]
build-backend = "poetry.core.masonry.api"
`,
	}, "", []string{"pathspec"}},
	{"acme/by_setuptools", "by_setuptools", map[string]string{
		"pyproject.toml": `[project]
name = "by-setuptools"
version = "0.0.1"
dynamic = ["dependencies"]

[tool.setuptools]
packages = ["by_setuptools"]

[tool.setuptools.dynamic]
dependencies = { file = ["requirements/run.txt"] }

[build-system]
requires = ["setuptools[core]>=61,<80", "wheel"]
build-backend = "setuptools.build_meta"
`,
		"requirements/run.txt": "pluggy<2\n",
	}, "", []string{"pluggy"}},
	{"acme/by_cfg", "by_cfg", map[string]string{
		"setup.cfg": "[metadata]\nname = by_cfg\nversion = 0.0.1\n\n[options]\npackages = find:\ninstall_requires =\n    by-setuptools\n    toolz\n",
		"setup.py":  "from setuptools import setup\n\nsetup()\n",
	}, "", []string{"toolz"}},
	{"acme/by_address", "by_address", map[string]string{
		"pyproject.toml": `[project] # as flit has it
name = "by_address"
version = "0.0.1"
description = "An app that needs a file at an address"
dependencies = [
    "frappe>=15",
    "six @ https://files.pythonhosted.org/packages/d9/5a/e7c31adbe875f2abbb91bd84cf2dc52d792b5a01506781dbcf25c91daf11/six-1.16.0-py2.py3-none-any.whl",
]

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`,
		// It is imported in the image alone. frappe asks for that Debian package.
		"by_address/hooks.py": `import shutil

from frappe.gettext.translate import get_translations_from_mo

app_name = app_title = app_description = "by_address"
assert shutil.which("tree"), "Debian's package tree is missing"
assert get_translations_from_mo("de", "by_address") == {"Invoice": "Rechnung"}, "its translations are missing"
`,
		"by_address/locale/de.po": "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=utf-8\\n\"\n\nmsgid \"Invoice\"\nmsgstr \"Rechnung\"\n\n#, fuzzy\nmsgid \"Order\"\nmsgstr \"Orden\"\n",
	}, "", []string{"six"}},
}

// common are the files of an app that all have, and others.
func common(name string, others ...githubtest.Entry) []githubtest.Entry {
	return append([]githubtest.Entry{
		{Path: name + "/__init__.py", Text: "__version__ = \"0.0.1\"\n"},
		{Path: name + "/hooks.py", Text: "app_name = app_title = app_description = \"" + name + "\"\n"},
		{Path: name + "/modules.txt"}, {Path: name + "/patches.txt"},
	}, others...)
}

// TestShapes builds apps in the shapes that the world has: whichever back end
// describes them, all they need is locked, and nothing else; a submodule that
// nobody can fetch is in nobody's way.
func TestShapes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image")
	}
	enginetest.Shared(t)
	u := &user{t: t, printed: &syncedBuffer{}, world: newWorld(t, sandbox.Options{Name: "shapes", NoHost: true})}
	root := filepath.Join(u.world.Dir, "repositories")
	selection := apps.Selection{{Owner: "frappe", Name: "frappe", Ref: "v15.1.0"}}
	for _, s := range shapes {
		entries := common(s.name)
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			text := s.files[name]
			entries = append(entries, githubtest.Entry{Path: name, Text: text})
		}
		if s.submodule != "" {
			entries = append(entries, githubtest.Entry{Path: s.submodule, Mode: "160000", Text: strings.Repeat("ab", 20)})
		}
		githubtest.New(t, root, s.repository).CommitEntries("main", entries...)
		owner, name, _ := strings.Cut(s.repository, "/")
		selection = append(selection, apps.Ref{Owner: owner, Name: name, Ref: "main"})
	}
	// A node module at a commit.
	module := githubtest.New(t, root, "acme/module")
	module.CommitEntries("main", githubtest.Entry{Path: "package.json", Text: `{"name": "module", "version": "1.0.0", "main": "index.js"}`})
	commit := module.CommitEntries("main", githubtest.Entry{Path: "index.js", Text: "export default \"of the module\";\n"})
	address := "git+" + u.world.GitHub.URL() + "/acme/module#" + commit
	githubtest.New(t, root, "acme/by_module").CommitEntries("main", common("by_module",
		githubtest.Entry{Path: "setup.py", Text: "from setuptools import setup\n\nsetup(name=\"by_module\", version=\"0.0.1\", packages=[\"by_module\"])\n"},
		githubtest.Entry{Path: "package.json", Text: fmt.Sprintf(`{"name": "by_module", "scripts": {"postinstall": "node scripts/[mend].js"}, "dependencies": {"module": %q}}`, address)},
		githubtest.Entry{Path: "scripts/[mend].js", Text: "require(\"fs\").writeFileSync(\"node_modules/module/index.js\", 'export default \"as we mended it\";\\n');\n"},
		githubtest.Entry{Path: "yarn.lock", Text: fmt.Sprintf("# yarn lockfile v1\n\n\n\"module@%[1]s\":\n  version \"1.0.0\"\n  resolved \"%[1]s\"\n", address)},
		githubtest.Entry{Path: "by_module/hooks.py", Text: `from pathlib import Path

app_name = app_title = app_description = "by_module"
bundles = Path("/home/frappe/frappe-bench/assets/by_module/dist/js").glob("*.js")
assert any("as we mended it" in bundle.read_text() for bundle in bundles), "its script was not run"
`},
		githubtest.Entry{Path: "by_module/public/js/by_module.bundle.js", Text: "import said from \"module\";\nconsole.log(said);\n"})...)
	selection = append(selection, apps.Ref{Owner: "acme", Name: "by_module", Ref: "main"})
	// What only the token of its app opens.
	githubtest.New(t, root, "desiredeffect/by_git").CommitEntries("main", common("by_git", githubtest.Entry{Path: "pyproject.toml", Text: fmt.Sprintf(`[project]
name = "by_git"
version = "0.0.1"
description = "An app that needs a private package"
dependencies = ["de_macrs @ git+%s/desiredeffect/de_macrs@v0.0.4"]

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`, u.world.GitHub.URL())})...)
	selection = append(selection, apps.Ref{Owner: "desiredeffect", Name: "by_git", Ref: "main", Private: true})
	var err error
	if u.environ, err = u.world.Environment(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(u.world.Dir, "lock.json")
	u.must(u.command("build", "1.0.0", selection, "--lock", lock)...)
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes {
		for _, p := range s.packages {
			if !strings.Contains(string(text), `\n`+p+"==") && !strings.Contains(string(text), `\n`+p+" @ https://") {
				t.Errorf("%s of %s is not locked", p, s.name)
			}
		}
		if strings.Contains(string(text), `\n`+strings.ReplaceAll(s.name, "_", "-")+"==") {
			t.Errorf("%s is locked as if it were PyPI's", s.name)
		}
	}
	if !strings.Contains(string(text), "/desiredeffect/de_macrs@") {
		t.Error("the private package is not locked")
	}
	if strings.Contains(string(text), `\nfrappe==`) {
		t.Error("PyPI's frappe is locked")
	}
	// It starts, imports and installs every one of them.
	u.must(u.command("push", "1.0.0", selection)...)
	broken := githubtest.New(t, root, "acme/broken")
	broken.CommitEntries("main", githubtest.Entry{Path: "broken/__init__.py", Text: "__version__ = \"1\"\n"}, githubtest.Entry{Path: "broken/hooks.py", Text: "\n"},
		githubtest.Entry{Path: "setup.py", Text: "import frappe\n"})
	u.fails(u.command("build", "1.0.1", append(selection, apps.Ref{Owner: "acme", Name: "broken", Ref: "main"})), cli.ExitUsage,
		"broken main: its setup.py does not tell what the app needs to run", "No module named 'frappe'")
	u.environ = append(u.environ, "APT_PACKAGES=tree-of-nowhere -tree")
	u.fails(u.command("build", "1.0.2", selection), cli.ExitUsage, "APT_PACKAGES: the Debian of the image does not have the package tree-of-nowhere")
}
