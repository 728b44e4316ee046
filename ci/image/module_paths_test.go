package image

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestOverrideName(t *testing.T) {
	for of, want := range map[string]string{
		"ui": "ui", "@acme/ui": "@acme/ui", "ui@^1": "ui", "@acme/ui@>=1.0.0 <2": "@acme/ui", "web>ui@1": "ui", "web@2>@acme/ui": "@acme/ui",
		"**/ui": "ui", "web/@acme/ui": "@acme/ui", "ui@npm:1.0.0": "ui", "": "",
		"ui@>1.0.0": "ui", "web@1>@acme/ui@>1 <=2": "@acme/ui", "ui@1 || >2": "ui", "ui@workspace:libs/lib": "ui", "ui@npm:@a/b@1": "ui",
		"web@npm:1.0.0/ui": "ui", "@acme/web/**/ui@^1": "ui",
	} {
		if got := (override{of: of}).name(); got != want {
			t.Errorf("%s is of %q, want %q", of, got, want)
		}
	}
}

// Overrides count where the manager reads them, from where it reads them.
func TestOverrides(t *testing.T) {
	const lock, yarnLock = "lockfileVersion: '9.0'\n", "# yarn lockfile v1\n"
	for name, test := range map[string]struct {
		files    map[string]string
		links    []link
		copied   string
		imported string
	}{
		"pnpm's": {map[string]string{"pnpm-lock.yaml": lock,
			"package.json":     `{"dependencies": {"ui": "1.0.0", "near": "1.0.0"}, "pnpm": {"overrides": {"ui@1": "link:../frappe/ui", "near": "link:lib", "far>it": "file:vendor/it"}}}`,
			"lib/package.json": "{}"},
			[]link{{"package.json", "link:../frappe/ui", "frappe", "ui"}}, "vendor/it", "lib"},
		"pnpm's, in its settings": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{"pnpm": {}}`,
			"pnpm-workspace.yaml": "packages: [apps/*]\noverrides:\n  ui: link:../frappe/ui\n  1: 2\n"},
			[]link{{"pnpm-workspace.yaml", "link:../frappe/ui", "frappe", "ui"}}, "", ""},
		"pnpm's, in both": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{"pnpm": {"overrides": {"ui": "link:../erpnext/ui"}}}`,
			"pnpm-workspace.yaml": "overrides:\n  ui: link:../frappe/ui\n"},
			[]link{{"package.json", "link:../erpnext/ui", "erpnext", "ui"}}, "", ""},
		"a workspace, from where each asks": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{"pnpm": {"overrides": {"ui": "workspace:../../../frappe/ui"}}}`,
			"pnpm-workspace.yaml": "packages:\n  - apps/*\n", "apps/web/package.json": `{"dependencies": {"ui": "^1"}}`, "apps/desk/package.json": `{}`},
			[]link{{"package.json", "workspace:../../../frappe/ui", "frappe", "ui"}}, "", ""},
		"what a workspace asks for itself": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{}`,
			"pnpm-workspace.yaml": "packages:\n  - apps/*\n", "apps/web/package.json": `{"dependencies": {"ui": "link:../../../frappe/ui"}}`},
			[]link{{"apps/web/package.json", "link:../../../frappe/ui", "frappe", "ui"}}, "", ""},
		"what a workspace of a front end asks for": {map[string]string{"package.json": `{}`, "desk/package.json": `{"workspaces": ["web"]}`, "desk/yarn.lock": yarnLock,
			"desk/web/package.json": `{"dependencies": {"ui": "link:../../../frappe/ui"}}`, "docs/example/package.json": `{"dependencies": {"ui": "link:../../../gone/ui"}}`},
			[]link{{"desk/web/package.json", "link:../../../frappe/ui", "frappe", "ui"}}, "", ""},
		"a link that is replaced": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{"dependencies": {"ui": "link:../gone/ui"}, "pnpm": {"overrides": {"ui": "1.0.0", "x": "-"}}}`},
			nil, "", ""},
		"yarn's, of what it asks for otherwise": {map[string]string{"yarn.lock": yarnLock, "package.json": `{"dependencies": {"ui": "^1.0.0"}, "resolutions": {"**/ui": "portal:../frappe/ui"}, "pnpm": {"overrides": {"x": "link:../gone"}}}`},
			[]link{{"package.json", "portal:../frappe/ui", "frappe", "ui"}}, "", ""},
		"npm's, at any level": {map[string]string{"package-lock.json": "{}", "package.json": `{"resolutions": {"x": "link:../gone"}, "overrides": {"web": {".": "file:vendor/web", "ui@1": "file:../frappe/ui"}}}`},
			[]link{{"package.json", "file:../frappe/ui", "frappe", "ui"}}, "vendor/web", ""},
		"npm's, from where a workspace asks": {map[string]string{"package-lock.json": "{}", "package.json": `{"workspaces": ["packages/*"], "overrides": {"ui": "file:../../../frappe/ui", "it": "file:../frappe/it"}}`,
			"packages/web/package.json": `{"dependencies": {"ui": "^1.0.0"}}`},
			[]link{{"package.json", "file:../frappe/it", "frappe", "it"}, {"package.json", "file:../../../frappe/ui", "frappe", "ui"}}, "", ""},
		"one that refers to what the root asks for": {map[string]string{"pnpm-lock.yaml": lock, "package.json": `{"dependencies": {"ui": "link:../frappe/ui", "it": "file:vendor/it"}}`,
			"pnpm-workspace.yaml": "overrides: {ui: $ui, it: $it}\n"},
			[]link{{"package.json", "link:../frappe/ui", "frappe", "ui"}}, "vendor/it", ""},
		"npm's that refers to it, for a workspace": {map[string]string{"package-lock.json": "{}", "package.json": `{"workspaces": ["web"], "devDependencies": {"ui": "file:../frappe/ui"}, "overrides": {"ui": "$ui"}}`,
			"web/package.json": `{"dependencies": {"ui": "^1.0.0"}}`},
			[]link{{"package.json", "file:../frappe/ui", "frappe", "ui"}}, "", ""},
		"not of a front end with a lock of its own": {map[string]string{"package-lock.json": "{}", "package.json": `{"overrides": {"ui": "1.0.0"}}`,
			"desk/package.json": `{"workspaces": ["web"]}`, "desk/yarn.lock": yarnLock, "desk/web/package.json": `{"dependencies": {"ui": "link:../../../frappe/ui"}}`},
			[]link{{"desk/web/package.json", "link:../../../frappe/ui", "frappe", "ui"}}, "", ""},
		"npm's, of what such a front end asks for too": {map[string]string{"package-lock.json": "{}", "package.json": `{"overrides": {"ui": "file:../frappe/ui"}}`,
			"web/package.json": `{"dependencies": {"ui": "1.0.0"}}`, "web/yarn.lock": yarnLock},
			[]link{{"package.json", "file:../frappe/ui", "frappe", "ui"}}, "frappe/ui", ""},
		"not a workspace's": {map[string]string{"yarn.lock": yarnLock, "package.json": `{"workspaces": ["web"], "resolutions": {"ui": "link:../frappe/ui"}}`,
			"web/package.json": `{"dependencies": {"ui": "^1.0.0"}, "resolutions": {"x": "1.0.0"}}`},
			[]link{{"package.json", "link:../frappe/ui", "frappe", "ui"}}, "", ""},
		"those of a front end with a manager of its own": {map[string]string{"yarn.lock": yarnLock, "package.json": `{"scripts": {"postinstall": "cd web && pnpm install"}}`,
			"web/package.json": `{"packageManager": "pnpm@9.15.4", "pnpm": {"overrides": {"ui": "link:../../frappe/ui"}}}`},
			[]link{{"web/package.json", "link:../../frappe/ui", "frappe", "ui"}}, "", ""},
		"a folder for modules alone": {map[string]string{"yarn.lock": yarnLock, "package.json": `{"resolutions": {"lib": "link:./lib", "web": "1.0.0"}}`,
			"lib/package.json": "{}", "web/package.json": `{"name": "web"}`},
			nil, "", "lib"},
		"the folder of all apps": {map[string]string{"package.json": `{"dependencies": {"all": "link:.."}}`}, []link{{from: "package.json", says: "link:.."}}, "", ""},
		"npm's, for yarn":        {map[string]string{"yarn.lock": yarnLock, "package.json": `{"overrides": {"ui": "file:../gone"}, "pnpm": []}`}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			node := surveyed(t, test.files).node
			if !slices.Equal(node.links, test.links) {
				t.Errorf("links are %v", node.links)
			}
			if got := strings.Join(node.copied, " "); got != test.copied {
				t.Errorf("copied are %s", got)
			}
			if got := strings.Join(node.imported, " "); got != test.imported {
				t.Errorf("imported are %s", got)
			}
		})
	}
}

// A folder of another app decides the front end that an override has read it, and one
// that is not there is refused.
func TestOverrideOfAnotherApp(t *testing.T) {
	read := func(override, changed string) ([]app, release.Lock) {
		r, lock := exampleReader(), exampleLock()
		for _, i := range []int{2, 4} {
			r[lock.Apps[i].URL] = maps.Clone(r[lock.Apps[i].URL])
		}
		r[lock.Apps[4].URL]["ui/index.js"] = changed
		r[lock.Apps[2].URL]["frontend/package.json"] = `{"dependencies": {"ui": "^1.0.0"}}`
		r[lock.Apps[2].URL]["frontend/pnpm-lock.yaml"] = "lockfileVersion: '9.0'\n"
		r[lock.Apps[2].URL]["frontend/pnpm-workspace.yaml"] = "overrides:\n  ui: " + override + "\n"
		delete(r[lock.Apps[2].URL], "frontend/yarn.lock")
		list, err := survey(t.Context(), r, lock.Apps)
		if err != nil {
			t.Fatal(err)
		}
		return list, lock
	}
	for override, want := range map[string]string{
		"link:../../payments/ui": "", "file:../../payments/ui": "", "workspace:../../payments/ui": "",
		"link:../../payments/gone": "payments v4 has no folder gone", "link:../../absent/ui": "the app absent is not there",
	} {
		key := func(changed string) string {
			b := exampleBuilder(t)
			list, lock := read(override, changed)
			b.apps = list
			keys := b.newGraph(lock).keys()
			return keys["front hrms"] + keys["modules hrms linux/amd64"]
		}
		if want == "" && key("one") == key("another") {
			t.Errorf("%s: a change there does not change the key", override)
		}
		list, lock := read(override, "")
		report := slices.DeleteFunc(misfits(list, lock, nil), func(p problem.Problem) bool { return p.Code != "image.link" })
		switch {
		case want == "" && len(report) > 0:
			t.Errorf("%s: %v", override, report)
		case want != "" && (len(report) != 1 || report[0].Error() != "hrms v2: its frontend/pnpm-workspace.yaml asks for "+override+", and "+want):
			t.Errorf("%s: %v", override, report)
		}
	}
}
