package image

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// surveyed returns an app called acme with these files.
func surveyed(t *testing.T, files map[string]string) app {
	t.Helper()
	tree := map[string]string{"acme/__init__.py": "__version__ = '1'", "acme/hooks.py": "", "pyproject.toml": "[project]\nname = 'acme'\n"}
	for name, text := range files {
		tree[name] = text
	}
	const url = "https://github.com/acme/acme"
	a, err := surveyOne(t.Context(), reader{url: tree}, release.App{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestManagers(t *testing.T) {
	const yarn1Lock, berry6, berry8 = "# yarn lockfile v1\n", "__metadata:\n  version: 6\n", "# generated\n\n__metadata:\n  version: 8\n  cacheKey: 10\n"
	for name, test := range map[string]struct {
		files   map[string]string
		install string
		added   []manager
	}{
		"no lock":                {nil, "yarn install --frozen-lockfile", nil},
		"yarn's first":           {map[string]string{"yarn.lock": yarn1Lock, "package-lock.json": "{}"}, "yarn install --frozen-lockfile", nil},
		"yarn's third":           {map[string]string{"yarn.lock": berry6}, "@yarnpkg/cli-dist@3.8.6 yarn install --immutable", nil},
		"yarn's fourth":          {map[string]string{"yarn.lock": berry8}, "@yarnpkg/cli-dist@4.13.0 yarn install --immutable", nil},
		"a yarn of the future":   {map[string]string{"yarn.lock": strings.ReplaceAll(berry8, "8", "12")}, "@yarnpkg/cli-dist@4.18.1 yarn install --immutable", nil},
		"pnpm's fifth format":    {map[string]string{"pnpm-lock.yaml": "lockfileVersion: 5.4\n"}, "pnpm@7.33.7 pnpm install", nil},
		"pnpm's sixth":           {map[string]string{"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "pnpm@8.15.9 pnpm install", nil},
		"pnpm's ninth":           {map[string]string{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "pnpm@10.34.8 pnpm install", nil},
		"npm's":                  {map[string]string{"package-lock.json": "{}"}, "npm ci", nil},
		"npm's, as it publishes": {map[string]string{"npm-shrinkwrap.json": "{}"}, "npm ci", nil},
		"one that is named": {map[string]string{"pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "package.json": `{"packageManager": "pnpm@9.15.4+sha512.ab"}`},
			`pnpm@9.15.4 apps/acme":"/opt/manager/pnpm-9.15.4/bin/pnpm"} /opt/manager/bin/pnpx pnpm install`, nil},
		"of two locks that of the one that is named": {map[string]string{"yarn.lock": yarn1Lock, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "package.json": `{"packageManager": "pnpm@9.15.4"}`},
			"pnpm@9.15.4 pnpm install", nil},
		"one that is named, with another's lock": {map[string]string{"package-lock.json": "{}", "package.json": `{"packageManager": "pnpm@9.15.4"}`}, "npm ci", nil},
		"yarn 1 by name":                         {map[string]string{"yarn.lock": yarn1Lock, "package.json": `{"packageManager": "yarn@1.22.19"}`}, "yarn install --frozen-lockfile", nil},
		"a front end's own": {map[string]string{"yarn.lock": yarn1Lock, "acme/ui/package.json": "{}", "acme/ui/pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
			"yarn install --frozen-lockfile", []manager{{"pnpm", newestPnpm}}},
		"a front end's own yarn, below npm": {map[string]string{"package-lock.json": "{}", "acme/ui/package.json": "{}", "acme/ui/yarn.lock": berry8, "web/package.json": "{}", "web/yarn.lock": berry6},
			"npm ci", []manager{{"yarn", "3.8.6"}, {"yarn", "4.13.0"}}},
		"a front end's own yarn, below the first": {map[string]string{"web/package.json": "{}", "web/yarn.lock": berry6}, `"./classic.js";`, []manager{{"yarn", "3.8.6"}}},
		"a workspace's, beside the root's": {map[string]string{"yarn.lock": berry8, "packages/lib/package.json": `{"packageManager": "yarn@3.2.0"}`, "ui/package.json": `{"packageManager": "pnpm@9.15.4"}`, "ui/pnpm-lock.yaml": "lockfileVersion: '6.0'\n"},
			"yarn install --immutable", []manager{{"pnpm", "9.15.4"}, {"yarn", "4.13.0"}}},
		"a front end's own, by name alone": {map[string]string{"ui/package.json": `{"packageManager": "yarn@4.9.1"}`}, `apps/acme/ui":"/opt/manager/yarn-4.9.1/`, []manager{{"yarn", "4.9.1"}}},
		"below another's lock":             {map[string]string{"yarn.lock": yarn1Lock, "ui/package.json": `{"packageManager": "pnpm@9.15.4"}`}, `apps/acme/ui":"/opt/manager/pnpm-9.15.4/`, []manager{{"pnpm", "9.15.4"}}},
		"below its own lock, beside another": {map[string]string{"package.json": `{"packageManager": "pnpm@10.1.0"}`, "yarn.lock": yarn1Lock, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "packages/lib/package.json": `{"packageManager": "pnpm@9.15.4"}`},
			"pnpm install", []manager{{"pnpm", "10.1.0"}}},
		"the beginning of yarn's fourth":         {map[string]string{"yarn.lock": berry8 + "\n\"x@npm:1\":\n  checksum: 0a\n"}, "@yarnpkg/cli-dist@4.0.2 yarn install --immutable", nil},
		"yarn's second by name":                  {map[string]string{"yarn.lock": "__metadata:\n  version: 4\n", "package.json": `{"packageManager": "yarn@2.1.0"}`}, "@yarnpkg/cli-dist@2.4.2 yarn install --immutable", nil},
		"yarn's second by name alone":            {map[string]string{"package.json": `{"packageManager": "yarn@2.1.0"}`}, "@yarnpkg/cli-dist@2.4.2 yarn install --immutable", nil},
		"yarn's second, with a later lock":       {map[string]string{"yarn.lock": berry6, "package.json": `{"packageManager": "yarn@2.4.3"}`}, "@yarnpkg/cli-dist@3.8.6 yarn install --immutable", nil},
		"a name and a lock of two kinds of yarn": {map[string]string{"yarn.lock": yarn1Lock, "package.json": `{"packageManager": "yarn@4.9.1"}`}, "SKIP_YARN_COREPACK_CHECK=1 yarn install --frozen-lockfile", nil},
		"what can't be the name of one":          {map[string]string{"package.json": `{"packageManager": "$(id)@1.0.0"}`}, "yarn install --frozen-lockfile", nil},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"package.json": "{}"}
			maps.Copy(files, test.files)
			a := surveyed(t, files)
			script := a.setUp() + a.node.manager.install()
			for _, word := range strings.Fields(test.install) {
				if !strings.Contains(script, word) {
					t.Errorf("%s is not in\n%s", word, script)
				}
			}
			if added := a.node.added(); test.added != nil && !slices.Equal(added, test.added) {
				t.Errorf("installed themselves are %v", added)
			}
		})
	}
}

// What lies in source trees is known, wherever it is asked for.
func TestPathModules(t *testing.T) {
	a := surveyed(t, map[string]string{
		"package.json":               `{"name": "acme", "workspaces": ["packages/*"], "dependencies": {"@acme/lib": "1.0.0", "vendored": "file:vendor/module.tgz", "near": "./packages/near"}}`,
		"packages/lib/package.json":  `{"name": "@acme/lib", "devDependencies": {"other": "file:../other"}}`,
		"packages/near/package.json": `{"name": "@acme/near", "dependencies": {"@acme/deep": "1.0.0"}}`, "packages/near/index.js": "",
		"packages/deep/package.json":  `{"name": "@acme/deep"}`,
		"packages/other/package.json": `{"name": "other"}`, "packages/other/src/index.js": "", "vendor/module.tgz": "", "vendor/module.tgz.asc": "",
		"frontend/package.json":  `{"dependencies": {"@framework/ui": "link:../../frappe/ui", "far": "link:../../../elsewhere", "near": "link:../packages/lib"}}`,
		"acme/desk/package.json": `{}`, "acme/public/dist/package.json": `{"dependencies": {"x": "link:../../../../x/y"}}`,
		"node_modules/x/package.json": `{}`, ".yarn/patches/x.patch": "", ".yarn/install-state.gz": "", "packages/lib/node_modules/y/yarn.lock": "",
	})
	want := []link{{"frontend/package.json", "link:../../frappe/ui", "frappe", "ui"}, {"frontend/package.json", "link:../../../elsewhere", "", ""}}
	slices.SortFunc(a.node.links, func(x, y link) int { return strings.Compare(y.app, x.app) })
	if !slices.Equal(a.node.links, want) {
		t.Errorf("links are %v", a.node.links)
	}
	for name, list := range map[string]struct{ got, want []string }{
		"fronts":       {a.fronts(), []string{"frontend"}},
		"node folders": {a.nodeFolders(), []string{"acme/desk/node_modules", "frontend/node_modules", "node_modules", "packages/deep/node_modules", "packages/lib/node_modules", "packages/near/node_modules", "packages/other/node_modules"}},
	} {
		if !slices.Equal(list.got, list.want) {
			t.Errorf("%s: %q", name, list.got)
		}
	}
	var read []string
	for _, f := range a.files {
		if a.readsInstall(f.Path) {
			read = append(read, f.Path)
		}
	}
	if want := []string{".yarn/patches/x.patch", "acme/desk/package.json", "frontend/package.json", "package.json", "packages/deep/package.json", "packages/lib/package.json", "packages/near/index.js", "packages/near/package.json", "packages/other/package.json", "packages/other/src/index.js", "vendor/module.tgz"}; !slices.Equal(read, want) {
		t.Errorf("an installation reads %q", read)
	}
}

func TestRunsScripts(t *testing.T) {
	for description, want := range map[string]bool{
		`{"scripts": {"build": "node build.js"}}`:                                                                       false,
		`{"scripts": {"postinstall": "cd frontend && yarn install --check-files && cd ../roster&&yarn"}}`:               false,
		`{"scripts": {"postinstall": "patch-package", "prepare": "husky install || true"}}`:                             false,
		`{"scripts": {"postinstall": "node scripts/mend.js"}}`:                                                          true,
		`{"scripts": {"prepare": "cd ui; yarn run build"}}`:                                                             true,
		`{"scripts": {"postinstall": "yarn web && npm run desk", "web": "cd ui && yarn", "desk": "cd desk && npm ci"}}`: false,
		`{"scripts": {"postinstall": "yarn web", "web": "node scripts/mend.js"}}`:                                       true,
		`{"scripts": {"postinstall": "cd ui && yarn web", "web": "true"}}`:                                              true,
		`{"scripts": {"postinstall": "yarn postinstall"}}`:                                                              true,
		`{"scripts": {"postinstall": "yarn jest"}}`:                                                                     true,
	} {
		if got := surveyed(t, map[string]string{"package.json": description}).node.scripted; got != want {
			t.Errorf("%s: %v", description, got)
		}
	}
}

func TestGitModule(t *testing.T) {
	for resolved, want := range map[string]bool{
		`  resolved "git+https://github.com/acme/module#abc"`:                                true,
		`  resolved "git+ssh://git@github.com/acme/module.git#abc"`:                          true,
		`  resolved "https://github.com/acme/module#abc"`:                                    true,
		`  resolved "https://example.com/acme/module.git#abc"`:                               true,
		`  resolved "https://codeload.github.com/acme/module/tar.gz/abc"`:                    false,
		`  resolved "https://github.com/acme/module/releases/download/v1/module.tgz#abc"`:    false,
		`  resolved "https://registry.yarnpkg.com/module/-/module-1.0.0.tgz#abc"`:            false,
		`"module@https://github.com/acme/module":`:                                           false,
		`      "resolved": "git+ssh://git@github.com/acme/module.git#abc",`:                  true,
		`      "resolved": "https://registry.npmjs.org/module/-/module-1.0.0.tgz",`:          false,
		`    resolution: {commit: abc, repo: https://github.com/acme/module.git, type: git}`: true,
		`    resolution: {integrity: sha512-abc==}`:                                          false,
		`  resolution: "module@https://github.com/acme/module.git#commit=abc"`:               true,
		`  resolution: "module@npm:1.0.0"`:                                                   false,
	} {
		if got := gitModule.MatchString("x:\n" + resolved + "\n  version \"1\"\n"); got != want {
			t.Errorf("%s: %v", resolved, got)
		}
	}
}

// What a manager refuses names the app, and says what to do.
func TestUninstalled(t *testing.T) {
	b := exampleBuilder(t)
	b.lock = exampleLock()
	for printed, want := range map[string]string{
		"error workbox-build@7.4.0: The engine \"node\" is incompatible with this module. Expected version \">=20.0.0\". Got \"18.18.2\"\nerror Found incompatible module.": "image.node hrms v2: its node module workbox-build@7.4.0 wants Node >=20.0.0, and the image has 18.18.2",
		" ERR_PNPM_UNSUPPORTED_ENGINE  Unsupported environment\n\nYour Node version is incompatible with \"vite@7.0.0\".\n\nExpected version: >=20\nGot: v18.18.2\n":        "image.node hrms v2: its node module vite@7.0.0 wants Node >=20, and the image has 18.18.2",
		"error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.":                                                                               "image.node-lock hrms v2: ",
		"➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.":                                                                 "image.node-lock hrms v2: ",
		" ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with \"frozen-lockfile\"":                                                                                              "image.node-lock hrms v2: ",
		"npm error code E401\nnpm error 401 Unauthorized - GET https://npm.example.com/@acme%2fui":                                                                          "image.node-registry hrms v2: a registry of its node modules wants another login",
		"error Error: https://npm.example.com/@acme/ui/-/ui-1.0.0.tgz: Request failed \"401 Unauthorized\"":                                                                 "image.node-registry hrms v2: ",
		" ERR_PNPM_FETCH_401  GET https://npm.example.com/@acme%2Fui: Unauthorized - 401":                                                                                   "image.node-registry hrms v2: ",
		"➤ YN0041: │ @acme/ui@npm:1.0.0: Invalid authentication (as an unknown user)":                                                                                       "image.node-registry hrms v2: ",
		"error Couldn't find package": "",
	} {
		failed := fmt.Errorf("build modules hrms: %w", withOutput(&dagger.ExecError{ExitCode: 1, Stderr: printed}))
		got := b.uninstalled(&stage{name: "modules", of: "hrms"}, failed)
		var found *problem.Error
		if !errors.As(got, &found) {
			if want != "" || !errors.Is(got, failed) {
				t.Errorf("%s: %v", printed, got)
			}
			continue
		}
		if p := found.Report[0]; want == "" || !strings.HasPrefix(p.Code+" "+p.Error(), want) || p.Remedy == "" || !errors.Is(got, failed) {
			t.Errorf("%s: %s %s", printed, p.Code, p.Error())
		}
		if other := b.uninstalled(&stage{name: "front", of: "hrms"}, failed); errors.As(other, &found) {
			t.Errorf("of another stage: %v", other)
		}
	}
}
