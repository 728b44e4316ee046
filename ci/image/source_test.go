package image

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// reader is a Reader over texts by path, by the apps' URLs.
type reader map[string]map[string]string

func (r reader) Tree(_ context.Context, one release.App) ([]apps.File, error) {
	tree, found := r[one.URL]
	if !found {
		return nil, errors.New("no such repository")
	}
	var files []apps.File
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		files = append(files, apps.File{Path: p, Mode: "100644", Blob: fmt.Sprintf("%x", sha1.Sum([]byte(tree[p])))})
	}
	return files, nil
}

func (r reader) Read(_ context.Context, one release.App, file apps.File) (string, error) {
	if r[one.URL][file.Path] == "unreadable" {
		return "", errors.New("connection reset")
	}
	return r[one.URL][file.Path], nil
}

// exampleApps are apps as they are, each with those of its files that decide
// something, in install order.
var (
	exampleApps  = []string{"frappe", "erpnext", "hrms", "wiki", "payments"}
	exampleTrees = map[string]map[string]string{
		"frappe": {
			".github/workflows/ci.yml": "", "README.md": "", "socketio.js": "", "esbuild/esbuild.js": "",
			"package.json":       `{"name": "frappe-framework", "scripts": {"build": "node esbuild", "production": "node esbuild --production"}}`,
			"yarn.lock":          "# frappe's",
			"pyproject.toml":     "[project]\nname = \"frappe\"\n",
			"frappe/__init__.py": "__version__ = \"15.17.3\"\n", "frappe/hooks.py": "app_name = \"frappe\"\n",
			"frappe/public/js/desk.bundle.js": "", "frappe/public/scss/desk.bundle.scss": "", "frappe/core/__init__.py": "",
		},
		"erpnext": {
			"package.json": `{"name": "erpnext", "dependencies": {"onscan.js": "^1.5.2"}}`, "yarn.lock": "", "pyproject.toml": "[project]\nname = \"erpnext\"\n",
			"erpnext/__init__.py": "import functools\n\n__version__ = '15.15.0'\n", "erpnext/hooks.py": "app_name = \"erpnext\"\n",
			"erpnext/public/js/erpnext.bundle.js": "",
		},
		"hrms": {
			"package.json":  `{"workspaces": ["frappe-ui", "frontend", "roster"], "scripts": {"postinstall": "cd frontend && yarn install", "build": "cd frontend && yarn build"}}`,
			"yarn.lock":     "",
			"frontend/.env": "", "frontend/package.json": "{}", "frontend/yarn.lock": "", "frontend/src/main.js": "",
			"roster/package.json": "{}", "roster/src/App.vue": "",
			"pyproject.toml": "[project]\nname = \"hrms\"\n", "requirements.txt": "ignored==1\n",
			"hrms/__init__.py": "__version__ = \"15.13.2\"\n", "hrms/hooks.py": "app_name = \"hrms\"\nrequired_apps = [\"frappe/erpnext\"]\n",
			"hrms/public/js/hrms.bundle.js": "", "hrms/www/docs/index.md": "",
		},
		"wiki": {
			"setup.py": "", "requirements.txt": "GitPython\n", "MANIFEST.in": "", "package.json": `{"scripts": {}}`, "wiki/package.json": "{}",
			"wiki/__init__.py": "__version__ = '2.0.1'\n", "wiki/hooks.py": "web_include_js = [\"/assets/wiki/node_modules/ace/ace.js\"]\n",
			"wiki/docs/a.md": "", "wiki/public/js/wiki.js": "", "wiki_search/__init__.py": "", "wiki/wiki/__init__.py": "",
		},
		"payments": {
			"pyproject.toml":       "[project]\nname = \"payments\"\n",
			"payments/__init__.py": "__version__ = \"0.0.1\"\n", "payments/hooks.py": "app_name = \"payments\"\n",
		},
	}
)

func exampleLock() release.Lock {
	lock := release.Lock{
		SiteVersion: "1.1.5", Python: "3.11.6", Node: "18.18.2", Requirements: "click==8.1.7 \\\n    --hash=sha256:aa01\n",
		Bases: map[string]string{"python:3.11.6-slim-bookworm": "sha256:aa", "node:18.18.2-bookworm-slim": "sha256:bb", packerBase: "sha256:cc"},
	}
	for i, name := range exampleApps {
		lock.Apps = append(lock.Apps, release.App{
			Name: name, URL: "https://github.com/frappe/" + name, Ref: "v" + fmt.Sprint(i), Commit: fmt.Sprintf("%040x", i+1),
			CommittedAt: time.Date(2024, 3, 12+i, 17, 25, 32, 0, time.UTC),
		})
	}
	return lock
}

func exampleReader() reader {
	r := reader{}
	for _, one := range exampleLock().Apps {
		r[one.URL] = exampleTrees[one.Name]
	}
	return r
}

// exampleBuilder knows the example apps already, and needs no engine where
// nothing has to be built.
func exampleBuilder(t *testing.T) *Builder {
	t.Helper()
	b := &Builder{Reader: exampleReader(), Name: "erpnext-pipeline v1", native: "linux/amd64", Options: Options{Platforms: []dagger.Platform{"linux/amd64"}}, lasting: t.Context()}
	var err error
	if b.apps, err = b.survey(t.Context(), exampleLock().Apps); err != nil {
		t.Fatal(err)
	}
	return b
}

func example(t *testing.T, name string) *app {
	t.Helper()
	return &exampleBuilder(t).apps[slices.Index(exampleApps, name)]
}

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
	list, err := b.survey(t.Context(), append(exampleLock().Apps, own))
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
		{"none", map[string]string{"setup.py": "", "a/b/hooks.py": "", "hooks.py": ""}, "0 packages with a hooks.py in " + url + "none, where a Frappe app has one"},
		{"no version", with("a/__init__.py", "import frappe\n  __version__ = '1'\n"), "no __version__ in a/__init__.py"},
		{"no description", with("package.json", "{"), "read package.json: unexpected end of JSON input"},
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
	_, err := (&Builder{Reader: r}).survey(t.Context(), list)
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
	_, err := (&Builder{Reader: reader{}}).survey(ctx, exampleLock().Apps)
	var problems *problem.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &problems) {
		t.Errorf("error %v", err)
	}
}

// A front end that is built is in the image as what was built of it.
func TestSourceLeavesFrontEndsOut(t *testing.T) {
	b := exampleBuilder(t)
	for name, want := range map[string][]string{
		"hrms":   {"./.git", "./.github", "./cypress", "./frontend", "./roster"},
		"frappe": {"./.git", "./.github", "./cypress"},
	} {
		a := &b.apps[slices.Index(exampleApps, name)]
		s := b.source(a)
		if want := keyOf("app", name, a.CommittedAt.Unix(), want, packScript, entries(a.files, func(string) bool { return true })); s.key != want {
			t.Errorf("%s: another key than with these left out: %q", name, want)
		}
		if want := name + " " + a.Ref + " " + a.Commit; s.history != want {
			t.Errorf("history %q, want %q", s.history, want)
		}
	}
}
