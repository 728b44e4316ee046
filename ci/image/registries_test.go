package image

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// What an app's managers are told of registries is read, and logins with variables go.
func TestWithoutLogins(t *testing.T) {
	for name, test := range map[string]struct {
		file, text, without string
		named               []string
		logins              []ownLogin
	}{
		"npm": {".npmrc", "# ours\n@acme:registry=https://NPM.example.com/all/\n//npm.example.com/all/:_authToken=${NPM_TOKEN}\n //npm.example.com/all/:always-auth = ${ALWAYS}\nsave-exact=true\n",
			"# ours\n@acme:registry=https://NPM.example.com/all/\nsave-exact=true\n",
			[]string{"//npm.example.com/all"}, []ownLogin{{"//npm.example.com/all", ".npmrc", false, false}, {"//npm.example.com/all", ".npmrc", false, false}}},
		"npm, of all packages": {".npmrc", "_auth=${LOGIN}\nregistry = https://npm.example.com:8443\n", "registry = https://npm.example.com:8443\n",
			[]string{"//npm.example.com:8443"}, []ownLogin{{"//npm.example.com:8443", ".npmrc", false, false}}},
		"npm, of the public one": {".npmrc", "_authToken=${NPM_TOKEN}", "", []string{"//registry.npmjs.org"}, []ownLogin{{"//registry.npmjs.org", ".npmrc", false, false}}},
		"npm, if it is set": {".npmrc", "//npm.example.com/:_authToken=${NPM_TOKEN:-}\n//npm.example.com/:_authToken=${NPM_TOKEN?}\n", "",
			[]string{"//npm.example.com"}, []ownLogin{{"//npm.example.com", ".npmrc", true, false}, {"//npm.example.com", ".npmrc", true, false}}},
		"npm, a login of everyone":  {".npmrc", "//npm.example.com/:_authToken=npm_0\nregistry=https://npm.example.com/\n", "", []string{"//npm.example.com"}, nil},
		"npm, a variable elsewhere": {".npmrc", "cache=${HOME}/npm\n", "", nil, nil},
		"yarn 1": {".yarnrc", "\"@acme:registry\" \"https://npm.example.com\"\n\"//npm.example.com/:_authToken\" \"${NPM_TOKEN}\"\nyarn-offline-mirror \"x\"\n",
			"\"@acme:registry\" \"https://npm.example.com\"\nyarn-offline-mirror \"x\"\n",
			[]string{"//npm.example.com"}, []ownLogin{{"//npm.example.com", ".yarnrc", false, false}}},
		"yarn 2 to 4": {".yarnrc.yml", "nodeLinker: node-modules # ours\nnpmScopes:\n  acme:\n    npmAuthToken: ${NPM_TOKEN}\n    npmRegistryServer: https://npm.example.com/\n  other:\n    npmAuthIdent: \"robot:${PASSWORD:-}\"\nnpmRegistries:\n  //npm.example.com/b:\n    npmAlwaysAuth: true\n    npmAuthIdent: ${USER}:${PASSWORD}\n",
			"nodeLinker: node-modules # ours\nnpmScopes:\n    acme:\n        npmRegistryServer: https://npm.example.com/\n    other: {}\n",
			[]string{"//npm.example.com", "//npm.example.com/b", "//registry.npmjs.org"},
			[]ownLogin{{"//npm.example.com", ".yarnrc.yml", false, false}, {"//registry.npmjs.org", ".yarnrc.yml", true, false}, {"//npm.example.com/b", ".yarnrc.yml", false, false}}},
		"yarn 2 to 4, of all packages": {".yarnrc.yml", "npmAuthToken: ${NPM_TOKEN}\nnpmRegistryServer: \"https://npm.example.com\"\nnpmRegistries:\n  //other.example.com: {npmAuthToken: abc}\n",
			"npmRegistryServer: \"https://npm.example.com\"\nnpmRegistries:\n    //other.example.com: {npmAuthToken: abc}\n",
			[]string{"//npm.example.com"}, []ownLogin{{"//npm.example.com", ".yarnrc.yml", false, false}}},
		"no YAML": {".yarnrc.yml", "npmAuthToken: [${NPM_TOKEN}\n", "", nil, nil},
		"a list":  {".yarnrc.yml", "- npmAuthToken: ${NPM_TOKEN}\n", "", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			own := surveyed(t, map[string]string{"package.json": "{}", test.file: test.text}).node.registries
			for i := range own.logins {
				own.logins[i].unused = false // TestUnbound looks at that.
			}
			if !slices.Equal(own.named, test.named) || !slices.Equal(own.logins, test.logins) {
				t.Errorf("names %q, and logs in %v", own.named, own.logins)
			}
			without, changed := own.without[test.file]
			if without != test.without || changed != (test.logins != nil) {
				t.Errorf("without logins %v:\n%s\nwant\n%s", changed, without, test.without)
			}
		})
	}
}

// A login at a private registry needs one of the configuration's.
func TestUnbound(t *testing.T) {
	a := surveyed(t, map[string]string{
		"package.json":          `{"scripts": {"postinstall": "cd frontend && yarn install"}}`,
		"frontend/package.json": "{}", "example/package.json": "{}",
		".npmrc":             "//publish.example.com/:_authToken=${A}\n@a:registry=https://npm.example.com/a/\n//npm.example.com/a/:_authToken=${A}\n//npm.example.com/a/:_auth=${A}\n//registry.npmjs.org/:_authToken=${A}\n//optional.example.com/:_authToken=${A-}\n",
		"frontend/yarn.lock": "\"x@1\":\n  version \"1.0.0\"\n  resolved \"https://npm.example.com/ab/x/-/x-1.0.0.tgz#1\"\n",
		"frontend/.npmrc":    "//readonly.example.com/:_authToken=${R-for-all}\n//npm.example.com/ab/:_authToken=${B}\n",
		"example/.npmrc":     "//example.com/:_authToken=${B}\n",
	})
	const (
		first  = "acme : its .npmrc logs in at npm.example.com/a with a variable of the environment, which a build does not have"
		second = "acme : its frontend/.npmrc logs in at npm.example.com/ab with a variable of the environment, which a build does not have"
	)
	for registries, want := range map[string][]string{
		"":                                   {first, second},
		"https://u:p@npm.example.com":        nil,
		"https://u:p@NPM.example.com/a":      {second},
		"https://u:p@npm.example.com/ab":     {first},
		"https://u:p@npm.example.com:8443":   {first, second},
		"https://u:p@m.example.com/a":        {first, second},
		"https://u:p@npm.example.com.at/a":   {first, second},
		"https://_authToken:t@other.example": {first, second},
	} {
		var list []Registry
		if registries != "" {
			list = []Registry{{URL: secret.New(registries)}}
		}
		var report problem.Report
		a.unbound(list, &report)
		var got []string
		for _, p := range report {
			got = append(got, p.Error())
			if p.Code != "image.node-registry" || !strings.Contains(p.Remedy, "NPM_REGISTRIES to https://user:password@npm.example.com/a") {
				t.Errorf("%s: %s", p.Code, p.Remedy)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %s: %q", registries, got)
		}
	}
}

// A login goes nowhere without TLS that is known for a registry with it.
func TestExposed(t *testing.T) {
	a := surveyed(t, map[string]string{"package.json": "{}", ".npmrc": "@acme:registry=http://npm.example.com/acme/\n"})
	for address, want := range map[string]bool{"https://u:p@npm.example.com": true, "http://u:p@npm.example.com": false, "https://npm.example.com": false, "https://u:p@other.example.com": false} {
		var report problem.Report
		a.exposed([]Registry{{Scope: "@acme", URL: secret.New(address)}}, &report)
		if got := len(report) == 1; got != want {
			t.Errorf("%s: %v", address, report)
		}
	}
}

// An app has those logins that it asks for, and no other.
func TestBound(t *testing.T) {
	a := surveyed(t, map[string]string{
		"package.json": `{"dependencies": {"@acme/ui": "1.0.0"}}`,
		"yarn.lock":    "\"@deep/ui@1.0.0\":\n  version \"1.0.0\"\n",
		".npmrc":       "@other:registry=https://npm.example.com/other/\n",
	})
	for scope, want := range map[string]bool{"@acme": true, "@deep": true, "@acm": false, "@ui": false, "": false} {
		if got := len(a.node.registries.bound([]Registry{{Scope: scope, URL: secret.New("https://u:p@elsewhere.example.com")}})) == 1; got != want {
			t.Errorf("%q is asked for: %v", scope, got)
		}
	}
	for address, want := range map[string]bool{"https://u:p@npm.example.com": true, "https://u:p@npm.example.com/other": true, "https://u:p@npm.example.com/oth": false, "https://u:p@example.com": false} {
		if got := len(a.node.registries.bound([]Registry{{URL: secret.New(address)}})) == 1; got != want {
			t.Errorf("%s is named: %v", address, got)
		}
	}
}

func TestNpmConfigs(t *testing.T) {
	npm, yarn := npmConfigs(secret.New("https://bot:p%40w@mirror.example.com/npm"), []Registry{
		{"@acme", secret.New("https://_authToken:t-1@npm.example.com")}, {"", secret.New("http://bot:x@10.0.0.7:4873/b")}, {"@open", secret.New("https://open.example.com/npm")},
	}, []string{"//npm.example.com/project/7", "//unrelated.example.com"})
	const wantNpm = `//mirror.example.com/npm/:_auth=Ym90OnBAdw==
//mirror.example.com/npm/:always-auth=true
//npm.example.com/:_authToken=t-1
//npm.example.com/:always-auth=true
//10.0.0.7:4873/b/:_auth=Ym90Ong=
//10.0.0.7:4873/b/:always-auth=true
//npm.example.com/project/7/:_authToken=t-1
//npm.example.com/project/7/:always-auth=true
@acme:registry=https://npm.example.com/
@open:registry=https://open.example.com/npm/
`
	const wantYarn = `npmRegistries:
    //10.0.0.7:4873/b:
        npmAlwaysAuth: true
        npmAuthIdent: Ym90Ong=
    //mirror.example.com/npm:
        npmAlwaysAuth: true
        npmAuthIdent: Ym90OnBAdw==
    //npm.example.com:
        npmAlwaysAuth: true
        npmAuthToken: t-1
    //npm.example.com/project/7:
        npmAlwaysAuth: true
        npmAuthToken: t-1
npmScopes:
    acme:
        npmRegistryServer: https://npm.example.com
    open:
        npmRegistryServer: https://open.example.com/npm
unsafeHttpWhitelist:
    - 10.0.0.7
`
	if npm.Reveal() != wantNpm {
		t.Errorf("npm's:\n%s", npm.Reveal())
	}
	if yarn.Reveal() != wantYarn {
		t.Errorf("yarn's:\n%s", yarn.Reveal())
	}
	if _, yarn := npmConfigs(secret.New("http://10.0.0.8/npm"), []Registry{{"", secret.New("http://u:p@10.0.0.7")}}, nil); !strings.HasSuffix(yarn.Reveal(), "unsafeHttpWhitelist:\n    - 10.0.0.8\n    - 10.0.0.7\n") {
		t.Errorf("beside a mirror without a login, yarn's:\n%s", yarn.Reveal())
	}
	// Of two logins for a place the nearer one is its own.
	npm, _ = npmConfigs(secret.Secret{}, []Registry{{"", secret.New("https://_authToken:far@h.example.com")}, {"", secret.New("https://_authToken:near@h.example.com/a")}}, []string{"//h.example.com/a", "//h.example.com/a/b"})
	for _, line := range []string{"//h.example.com/a/:_authToken=near\n", "//h.example.com/a/b/:_authToken=near\n", "//h.example.com/:_authToken=far\n"} {
		if !strings.Contains(npm.Reveal(), line) {
			t.Errorf("%s is not in\n%s", line, npm.Reveal())
		}
	}
	if npm, _ := npmConfigs(secret.Secret{}, nil, []string{"//npm.example.com"}); npm.IsSet() {
		t.Errorf("without any:\n%s", npm.Reveal())
	}
}

// yarn sends a login wherever a lock says that an archive is.
func TestOwnLogins(t *testing.T) {
	for archive, want := range map[string]string{
		"https%3A%2F%2Fnpm.example.com%2Fa%2Fui.tgz":  "",
		"https://other.example.com/ui.tgz":            "",
		"https%3A%2F%2Fnpm.example.com%2Fab%2Fui.tgz": "//npm.example.com/ab/ui.tgz",
		"https://npm.example.com.at/a/ui.tgz":         "//npm.example.com.at/a/ui.tgz",
		"https://elsewhere.example.com/ui.tgz":        "//elsewhere.example.com/ui.tgz",
	} {
		dir := t.TempDir()
		npm, yarn := npmConfigs(secret.Secret{}, []Registry{{"", secret.New("https://u:p@npm.example.com/a")}, {"", secret.New("https://u:p@other.example.com")}}, nil)
		below(t, dir, map[string]string{
			"run/trust/keep": "", "run/trust-npmrc": npm.Reveal(), "run/trust-yarnrc": yarn.Reveal(),
			"apps/acme/web/yarn.lock":              "\"@acme/ui@npm:1.0.0::__archiveUrl=" + archive + "\":\n",
			"apps/acme/node_modules/bad/yarn.lock": "__archiveUrl=https://bad.example.com/x.tgz\n",
		})
		cmd := exec.CommandContext(t.Context(), "dash", "-euc", strings.ReplaceAll(ownLogins+"[ -z \"${YARN_UNSAFE_HTTP_WHITELIST:-}\" ]\n", "/run/trust", dir+"/run/trust"))
		cmd.Dir, cmd.Env = filepath.Join(dir, "apps/acme"), []string{"PATH=" + searchPath, "YARN_NODE_LINKER=node-modules", "YARN_UNSAFE_HTTP_WHITELIST=10.0.0.8"}
		out, err := cmd.CombinedOutput()
		if (err == nil) != (want == "") || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", archive, err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, ".yarnrc.yml"))
		if got := err == nil && string(text) == yarn.Reveal(); got != (want == "") {
			t.Errorf("%s: yarn has the logins: %v", archive, got)
		}
	}
}

// A token for the mirror is another script for the managers that it can't be told to
// otherwise, and for no other.
func TestTokenOfMirror(t *testing.T) {
	for lock, want := range map[string]string{"# yarn lockfile v1\n": berryLogin, "__metadata:\n  version: 8\n": ownLogins} {
		a := surveyed(t, map[string]string{"package.json": "{}", "yarn.lock": lock})
		for mirror, want := range map[string]string{"": berryLogin, "https://u:p@npm.example.com": berryLogin, "https://_authToken:t@npm.example.com": want} {
			b := &Builder{Options: Options{Mirrors: Mirrors{NPM: secret.New(mirror)}}}
			if b.logins(&a) != want {
				t.Errorf("with the mirror %q and the lock %q another script", mirror, lock)
			}
		}
	}
	npm, yarn := npmConfigs(secret.New("https://_authToken:t@npm.example.com"), nil, nil)
	if want := "//npm.example.com/:_authToken=t\n//npm.example.com/:always-auth=true\n"; npm.Reveal() != want || !strings.Contains(yarn.Reveal(), "npmAuthToken: t\n") {
		t.Errorf("npm's:\n%s\nyarn's:\n%s", npm.Reveal(), yarn.Reveal())
	}
}

func TestBuildInstalls(t *testing.T) {
	for description, want := range map[string]bool{
		`{"scripts": {"build": "vite build"}}`:                                               false,
		`{"scripts": {"build": "cd frontend && yarn build", "postinstall": "yarn install"}}`: false,
		`{"scripts": {"build": "cd frontend && yarn && yarn build"}}`:                        true,
		`{"scripts": {"build": "yarn --cwd frontend --check-files; yarn build"}}`:            true,
		`{"scripts": {"build": "cd frontend && npm install && npm run build"}}`:              true,
		`{"scripts": {"build": "npm --prefix frontend ci"}}`:                                 true,
		`{"scripts": {"build": "yarn web", "web": "pnpm install --frozen-lockfile"}}`:        true,
		`{"scripts": {"prebuild": "npm i", "build": "vite build"}}`:                          true,
		`{"scripts": {"build": "yarn build"}}`:                                               false,
		`{"scripts": {"build": "pnpm --filter web build", "setup": "pnpm install"}}`:         false,
	} {
		if got := surveyed(t, map[string]string{"package.json": description}).node.installs; got != want {
			t.Errorf("%s: %v", description, got)
		}
	}
}

// Registries are in the keys of no app that does not ask for one, and none of their
// values is in a key.
func TestKeysOfRegistries(t *testing.T) {
	keys := func(file, text string, registries ...Registry) map[string]string {
		r, lock := exampleReader(), exampleLock()
		if file != "" {
			r[lock.Apps[2].URL] = maps.Clone(r[lock.Apps[2].URL])
			r[lock.Apps[2].URL][file] = text
		}
		b := exampleBuilder(t)
		b.Mirrors.Registries = registries
		var err error
		if b.apps, err = survey(t.Context(), r, lock.Apps); err != nil {
			t.Fatal(err)
		}
		return b.newGraph(lock).keys()
	}
	at := func(scope, address string) Registry { return Registry{scope, secret.New(address)} }
	const asks = "@acme:registry=https://npm.example.com/\n"
	acme, other := at("@acme", "https://_authToken:t@npm.example.com"), at("@other", "https://u:p@other.example.com")
	for name, test := range map[string]struct {
		before, after map[string]string
		want          []string
	}{
		"one that no app asks for":    {keys("", ""), keys("", "", acme, other), nil},
		"one more that none asks for": {keys(".npmrc", asks, acme), keys(".npmrc", asks, acme, other), nil},
		"another value":               {keys(".npmrc", asks, acme), keys(".npmrc", asks, at("", "https://u:p@npm.example.com")), nil},
		"one that an app asks for":    {keys(".npmrc", asks), keys(".npmrc", asks, acme), []string{"assets hrms", "front hrms", "modules hrms linux/amd64"}},
		"a login of the app's": {keys(".npmrc", asks), keys(".npmrc", asks+"//npm.example.com/:_authToken=${T}\n"),
			[]string{"app hrms", "assets hrms", "front hrms", "modules hrms linux/amd64"}},
		"the value for a login of the app's": {keys(".npmrc", asks+"//npm.example.com/:_authToken=${T}\n"), keys(".npmrc", asks+"//npm.example.com/:_authToken=${T}\n", acme), nil},
	} {
		var changed []string
		for stage, key := range test.after {
			if test.before[stage] != key {
				changed = append(changed, stage)
			}
		}
		if slices.Sort(changed); !slices.Equal(changed, test.want) {
			t.Errorf("%s: is built anew: %q", name, changed)
		}
	}
}
