package image

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestRequiredApps(t *testing.T) {
	for name, test := range map[string]struct {
		hooks string
		want  []string
	}{
		"none":                     {"app_name = \"frappe\"\n", nil},
		"an empty list":            {"required_apps = []\n", nil},
		"a name":                   {"app_name = \"x\"\nrequired_apps = [\"erpnext\"]\n", []string{"erpnext"}},
		"with the owner":           {"required_apps = [\"frappe/erpnext\"]\n", []string{"erpnext"}},
		"a repository with dashes": {"required_apps = ['resilient-tech/india-compliance']\n", []string{"india_compliance"}},
		"an address":               {"required_apps = [\"https://github.com/frappe/payments\"]\n", []string{"payments"}},
		"over several lines":       {"required_apps=[\n\t\"frappe\",\n\t'frappe/hrms',\n]\nother = [\"x\"]\n", []string{"frappe", "hrms"}},
		"a comment of bench's own": {"# required_apps = [\"erpnext\"]\n", nil},
		"a longer name":            {"not_required_apps = [\"erpnext\"]\n", nil},
		"a branch, or a tag":       {"required_apps = ['frappe/erpnext@version-15', 'hrms@v15.1.0']\n", []string{"erpnext", "hrms"}},
		"an address with .git":     {"required_apps = [\"git@github.com:frappe/lms.git\", 'https://github.com/frappe/wiki.git/']\n", []string{"lms", "wiki"}},
		"a tuple":                  {"required_apps = (\n\t'erpnext',  # ours (for now]\n\t\"hrms\",\n)\nnext = 'x'\n", []string{"erpnext", "hrms"}},
		"without brackets":         {"required_apps = 'erpnext', \\\n\t'hrms'\nnext = 'x'\n", []string{"erpnext", "hrms"}},
		"added to":                 {"required_apps: list[str] = ['erpnext']\nrequired_apps += ['hrms'] + [\"wiki\"]\nrequired_apps.append('lms')\nrequired_apps.extend(['crm'])\n", []string{"erpnext", "hrms", "wiki", "lms", "crm"}},
		"assigned twice":           {"required_apps = ['erpnext']\nrequired_apps = ['hrms']\n", []string{"hrms"}},
		"worked out":               {"required_apps = ['erpnext']\nrequired_apps = find(['hrms'])\nrequired_apps += [x for x in 'ab']\n", nil},
		"never closed":             {"required_apps = ['erpnext'", []string{"erpnext"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := requiredApps(test.hooks); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSurvey(t *testing.T) {
	// The folder's name is the package's, whatever the repository is called.
	r := exampleReader()
	own := release.App{Name: "own-app", URL: "https://github.com/acme/own-app", Ref: "main"}
	r[own.URL] = map[string]string{"de_own/__init__.py": "__version__ = \"0.1\"", "de_own/hooks.py": "required_apps = [\"hrms\"]", "requirements.txt": "six\n", "pyproject.toml": "[tool.ruff]\n"}
	b := &Builder{Reader: r}
	list, err := survey(t.Context(), r, append(exampleLock().Apps, own))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range list {
		got = append(got, a.Name+" "+a.Version)
	}
	want := []string{"frappe 15.17.3", "erpnext 15.15.0", "hrms 15.13.2", "wiki 2.0.1", "payments 0.0.1", "de_own 0.1"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for i, legacy := range []string{"", "", "", "GitPython\n", "", "six\n"} {
		if list[i].legacy != legacy {
			t.Errorf("%s: requirements.txt %q, want %q", list[i].Name, list[i].legacy, legacy)
		}
	}
	if a := list[5]; a.dir() != benchDir+"/apps/de_own" || a.Ref != "main" {
		t.Errorf("own app in %s, of %s", a.dir(), a.Ref)
	}
	b.apps = list
	if got := b.Requires("de_own"); !slices.Equal(got, []string{"hrms"}) {
		t.Errorf("de_own requires %q", got)
	}
	if got := b.Requires("absent"); got != nil {
		t.Errorf("an app that is not there requires %q", got)
	}
}

func TestSurveyNamesEveryBadApp(t *testing.T) {
	good := map[string]string{"a/__init__.py": "__version__ = \"1\"", "a/hooks.py": "", "package.json": "{}"}
	with := func(p, text string) map[string]string {
		tree := maps.Clone(good)
		tree[p] = text
		return tree
	}
	const url = "https://github.com/acme/"
	cases := []struct {
		name string
		tree map[string]string
		want string
	}{
		{"good", good, ""},
		{"two packages", with("b/hooks.py", ""), "2 packages with a hooks.py in " + url + "two packages, where a Frappe app has one"},
		{"a strange folder", map[string]string{"$(id)/hooks.py": ""}, "the folder \"$(id)\" can't be a Python package"},
		{"none", map[string]string{"setup.py": "", "a/b/hooks.py": "", "hooks.py": ""}, "0 packages with a hooks.py in " + url + "none, where a Frappe app has one"},
		{"no version", with("a/__init__.py", "import frappe\n  __version__ = '1'\n"), "no __version__ in a/__init__.py"},
		{"no description", with("package.json", "{"), "read package.json: unexpected end of JSON input"},
		{"no project", with("pyproject.toml", "[project]\nname = x\n"), "read pyproject.toml: line 2, column 8: toml: unexpected character U+0078 'x' at start of value"},
		{"odd project", with("pyproject.toml", "[project]\ndependencies = 1\n"), "read pyproject.toml: line 2, column 16: toml: cannot decode TOML integer into struct field image.requirements.Dependencies of type []string"},
		{"not read", with("a/hooks.py", "unreadable"), "read a/hooks.py: connection reset"},
		{"not there", nil, "no such repository"},
	}
	r, list := reader{}, []release.App{}
	var want []string
	for _, c := range cases {
		one := release.App{Name: c.name, URL: url + c.name, Ref: "v1"}
		list = append(list, one)
		if c.tree != nil {
			r[one.URL] = c.tree
		}
		if c.want != "" {
			want = append(want, c.name+" v1: "+c.want)
		}
	}
	_, err := survey(t.Context(), r, list)
	var problems *problem.Error
	if !errors.As(err, &problems) {
		t.Fatalf("error %v", err)
	}
	var got []string
	for _, p := range problems.Report {
		got = append(got, p.Error())
		if p.Code != "image.app" || p.Remedy != "name a ref in apps.json at which the repository is a Frappe app" {
			t.Errorf("%s: %s, %q", p.Subject, p.Code, p.Remedy)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An interruption is none of the apps' fault.
func TestSurveyInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := survey(ctx, reader{}, exampleLock().Apps)
	var problems *problem.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &problems) {
		t.Errorf("error %v", err)
	}
}
