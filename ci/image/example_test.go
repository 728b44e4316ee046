package image

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
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

func (r reader) Read(_ context.Context, one release.App, files ...apps.File) ([]string, error) {
	var texts []string
	for _, file := range files {
		if r[one.URL][file.Path] == "unreadable" {
			return nil, fmt.Errorf("read %s: connection reset", file.Path)
		}
		texts = append(texts, r[one.URL][file.Path])
	}
	return texts, nil
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
	if b.apps, err = survey(t.Context(), b.Reader, exampleLock().Apps); err != nil {
		t.Fatal(err)
	}
	return b
}

func example(t *testing.T, name string) *app {
	t.Helper()
	return &exampleBuilder(t).apps[slices.Index(exampleApps, name)]
}
