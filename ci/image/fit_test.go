package image

import (
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// TestMisfits: what keeps apps from being one image is known from their sources.
func TestMisfits(t *testing.T) {
	const url = "https://github.com/frappe/"
	for _, tc := range []struct {
		name            string
		app, file, text string
		want            []string
	}{
		{"all fits", "hrms", "pyproject.toml", "[project]\nrequires-python = '>=3.10,<3.14'\n[tool.bench.frappe-dependencies]\nfrappe = '>=15.0.0,<16.0.0'\nerpnext = '~=15.10'\npayments = 1\nlms = '>=2'\n", nil},
		{"a required app that is not there", "payments", "payments/hooks.py", "required_apps = ['frappe/lms@v2', 'erpnext']\n",
			[]string{"image.app-required payments v4: its hooks.py requires the app lms, which is not there"}},
		{"a required app by its repository's name", "payments", "payments/hooks.py", "required_apps = ['wiki']\n", nil},
		{"a newer frappe", "hrms", "pyproject.toml", "[tool.bench.frappe-dependencies]\nfrappe = '>=15.109.0,<16'\n",
			[]string{"image.app-version hrms v2: its pyproject.toml wants frappe >=15.109.0,<16, and v0 is 15.17.3"}},
		{"one exactly", "hrms", "pyproject.toml", "[tool.bench.frappe-dependencies]\nfrappe = '==15.17.3'\nerpnext = '==15.15.1'\n",
			[]string{"image.app-version hrms v2: its pyproject.toml wants erpnext ==15.15.1, and v1 is 15.15.0"}},
		{"a version on its way", "frappe", "frappe/__init__.py", "__version__ = '16.0.0-dev'\n",
			[]string{"image.app-version hrms v2: its pyproject.toml wants frappe >=15.0.0,<16.0.0, and v0 is 16.0.0-dev"}},
		{"a version that is none", "frappe", "frappe/__init__.py", "__version__ = '15.x.x-develop'\n", nil},
		{"a newer Python", "frappe", "pyproject.toml", "[project]\nrequires-python = '>=3.14,<3.15'\n",
			[]string{"image.python frappe v0: its pyproject.toml wants Python >=3.14,<3.15, and the image has 3.11.6"}},
		{"a newer Node", "frappe", "package.json", `{"engines": {"node": ">=24"}}`,
			[]string{"image.node frappe v0: its package.json wants Node >=24, and the image has 18.18.2"}},
		{"one Node or another", "frappe", "package.json", `{"engines": {"node": "^16.13 || >=18"}}`, nil},
		{"engines as they were once", "frappe", "package.json", `{"engines": ["node >= 24"]}`, nil},
		{"a folder of another app", "hrms", "frontend/package.json", `{"dependencies": {"a": "link:../../erpnext/erpnext/public", "b": "file:../../frappe/esbuild"}}`, nil},
		{"a whole app, and a file of one", "hrms", "frontend/package.json", `{"dependencies": {"a": "link:../../frappe", "b": "file:../../erpnext/yarn.lock", "c": "link:../../hrms"}}`, nil},
		{"an example that nothing installs", "wiki", "examples/package.json", `{"dependencies": {"x": "file:../../../x"}}`, nil},
		{"a folder that another app does not have", "hrms", "frontend/package.json", `{"dependencies": {"@framework/ui": "link:../../frappe/ui"}}`,
			[]string{"image.link hrms v2: its frontend/package.json asks for link:../../frappe/ui, and frappe v0 has no folder ui"}},
		{"a folder of an app that is not there", "hrms", "package.json", `{"devDependencies": {"lms": "portal:../lms/ui"}}`,
			[]string{"image.link hrms v2: its package.json asks for portal:../lms/ui, and the app lms is not there"}},
		{"a folder that is in no bench", "hrms", "package.json", `{"dependencies": {"x": "file:../../x"}}`,
			[]string{"image.link hrms v2: its package.json asks for file:../../x, which is in no app of a bench"}},
		{"erpnext among the requirements", "payments", "requirements.txt", "six\nERPNext >= 15\n", nil},
		{"tables of another form", "payments", "pyproject.toml", "[project]\nname = 'payments'\n[deploy.dependencies]\napt = ['x']\n[tool.bench]\nfrappe-dependencies = ['frappe']\n", nil},
		{"no name of a Debian package", "payments", "pyproject.toml", "[project]\nname = 'payments'\n[deploy.dependencies.apt]\npackages = ['libxml2', 'a;reboot']\n",
			[]string{`image.apt-package payments v4: its pyproject.toml asks for "a;reboot", which can't be the name of a Debian package`}},
		{"a package in two repositories", "payments", "erpnext/hooks.py", "", []string{"image.app-twice erpnext v4: " + url + "erpnext and " + url + "payments both hold the app erpnext"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := exampleReader()
			for at, tree := range r {
				r[at] = map[string]string{}
				for name, text := range tree {
					r[at][name] = text
				}
			}
			r[url+"hrms"]["pyproject.toml"] = "[tool.bench.frappe-dependencies]\nfrappe = '>=15.0.0,<16.0.0'\n"
			r[url+tc.app][tc.file] = tc.text
			if tc.file == "erpnext/hooks.py" {
				r[url+tc.app] = r[url+"erpnext"]
			}
			var got []string
			_, report := Check(t.Context(), r, exampleLock(), Mirrors{})
			for _, p := range report {
				got = append(got, p.Code+" "+p.Error())
				if p.Remedy == "" {
					t.Errorf("%s has no remedy", p.Code)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestWithRuntimes(t *testing.T) {
	for version, want := range map[string]string{
		"13.58.1": "3.10.14 16.20.2", "14.99.7": "3.10.14 16.20.2", "15.1.0": "3.11.6 18.18.2", "16.0.0-dev": "3.14.2 24.13.0", "16.x.x-develop": "3.14.2 24.13.0",
		"17.0.0": "3.14.2 24.13.0", "": " ", "develop": " ",
	} {
		got := WithRuntimes(release.Lock{Apps: []release.App{{Name: "frappe", Version: version}}})
		if got := got.Python + " " + got.Node; got != want {
			t.Errorf("of Frappe %s: %s, want %s", version, got, want)
		}
	}
	if got := WithRuntimes(release.Lock{Python: "3.12.1", Apps: []release.App{{Name: "frappe", Version: "16.1.0"}}}); got.Python != "3.12.1" || got.Node != "24.13.0" {
		t.Errorf("with Python 3.12.1: %+v", got)
	}
}

// Where nothing else is said, an app is held against what its Frappe runs on.
func TestCheckKnowsTheRuntimes(t *testing.T) {
	r, lock := exampleReader(), exampleLock()
	lock.Python, lock.Node = "", ""
	r[lock.Apps[0].URL]["package.json"] = `{"engines": {"node": ">=24"}}`
	list, report := Check(t.Context(), r, lock, Mirrors{})
	if len(report) != 1 || report[0].Detail != "its package.json wants Node >=24, and the image has 18.18.2" {
		t.Errorf("found %v", report.Err())
	}
	if lock.Apps[0].Version != "" || list[0].Version != "15.17.3" {
		t.Errorf("frappe is %s", list[0].Version)
	}
}

func TestFits(t *testing.T) {
	for _, tc := range []struct {
		version, wanted string
		want            bool
	}{
		{"17.0.0-dev", ">=16.0.0-dev,<=17.0.0-dev", true}, {"17.0.0-dev", ">=16.0.0-dev,<17.0.0", false}, {"16.0.0-dev", ">=16.0.0", false},
		{"16.0.0-dev", ">=15.0.0, <17.0.0", true}, {"15.20.0", "~=15.15", true}, {"16.0.0", "~=15.15", false}, {"15.15.9", "~=15.15.1", true},
		{"15.16.0", "~=15.15.1", false}, {"15.3.0", "==15.3.0", true}, {"15.3.1", ">=15, ==15.3.0", false}, {"18.18.2", "^16.13 || >=18", true}, {"15.1.0", "", true}, {"15.1.0", "soon", true},
	} {
		if got := fits(tc.version, tc.wanted); got != tc.want {
			t.Errorf("%s in %q: %v", tc.version, tc.wanted, got)
		}
	}
}
