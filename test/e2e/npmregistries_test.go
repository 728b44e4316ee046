package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

const (
	npmToken    = "npm_of-the.registry"
	npmPassword = "open&sesame@npm"
)

// privatePackages are what the two private registries have, by the path of the registry:
// @acme/said, which a token opens, and @other/said, which a password opens.
var privatePackages = map[string]string{"token": "@acme", "basic": "@other"}

// archiveOf returns the archive of a package that exports what it says. It is the same
// at any time: locks have its checksum.
func archiveOf(t *testing.T, scope string) []byte {
	t.Helper()
	var text bytes.Buffer
	zipped := gzip.NewWriter(&text)
	w := tar.NewWriter(zipped)
	for _, file := range [][2]string{
		{"package/package.json", fmt.Sprintf(`{"name": "%s/said", "version": "1.0.0", "main": "index.js"}`, scope)},
		{"package/index.js", "module.exports = \"of " + scope + "\";\n"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: file[0], Mode: 0o644, Size: int64(len(file[1])), ModTime: time.Unix(499162500, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(file[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func integrityOf(archive []byte) string {
	sum := sha512.Sum512(archive)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// npmRegistries are two registries of Node packages at one server. They answer with
// their own login alone.
type npmRegistries struct {
	*httptest.Server
	archives map[string][]byte

	mutex sync.Mutex
	// answered and refused count requests, by the path of the registry.
	answered, refused map[string]int
}

// serveNpmRegistries listens on an address that the engine's containers reach.
func serveNpmRegistries(t *testing.T, address string) *npmRegistries {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	r := &npmRegistries{archives: map[string][]byte{}, answered: map[string]int{}, refused: map[string]int{}}
	for path, scope := range privatePackages {
		r.archives[path] = archiveOf(t, scope)
	}
	r.Server = httptest.NewUnstartedServer(r)
	_ = r.Listener.Close()
	r.Listener = listener
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func (r *npmRegistries) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	path, rest, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	scope := privatePackages[path]
	user, password, _ := request.BasicAuth()
	allowed := path == "token" && request.Header.Get("Authorization") == "Bearer "+npmToken || path == "basic" && user == "robot" && password == npmPassword
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if !allowed {
		r.refused[path]++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.answered[path]++
	switch rest {
	case scope + "/said":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"name": scope + "/said", "dist-tags": map[string]string{"latest": "1.0.0"}, "time": map[string]string{"1.0.0": "2024-01-01T00:00:00.000Z"},
			"versions": map[string]any{"1.0.0": map[string]any{
				"name": scope + "/said", "version": "1.0.0", "main": "index.js",
				"dist": map[string]string{"tarball": r.at(path), "integrity": integrityOf(r.archives[path])},
			}},
		})
	case scope + "/said/-/said-1.0.0.tgz":
		_, _ = w.Write(r.archives[path])
	default:
		http.NotFound(w, request)
	}
}

// at is where the archive of a registry's package is.
func (r *npmRegistries) at(path string) string {
	return r.URL + "/" + path + "/" + privatePackages[path] + "/said/-/said-1.0.0.tgz"
}

// private returns apps with modules of those registries. The files of three of them
// name variables that are not set, at which their managers fail. Their names end with the
// run's: managers keep what they have fetched, for the next build of an app.
func (r *npmRegistries) private(run string) []shape {
	token, basic, place := r.URL+"/token/", r.URL+"/basic/", strings.TrimPrefix(r.URL, "http:")
	// Where nothing is installed, there is no login.
	const alone = builds + "if (fs.existsSync(\"/run/trust-npmrc\")) throw new Error(\"the build has logins\");\n"
	description := func(name, build, dependencies string) string {
		return fmt.Sprintf(`{"name": %q, "private": true, "scripts": {"build": %q}, "dependencies": {%s}}`, name, build, dependencies)
	}
	return []shape{
		// The build installs modules of its own.
		front("private_npm_"+run, "of @acme of @other", "..", `require("@acme/said"), require("@other/said")`, map[string]string{
			"package.json": description("private_npm", "cd frontend && npm install && npm run build", `"@acme/said": "1.0.0"`),
			".npmrc":       "@acme:registry=" + token + "\n" + place + "/token/:_authToken=${NPM_TOKEN}\n",
			"package-lock.json": fmt.Sprintf(`{"name": "private_npm", "lockfileVersion": 3, "requires": true, "packages": {
"": {"name": "private_npm", "dependencies": {"@acme/said": "1.0.0"}},
"node_modules/@acme/said": {"version": "1.0.0", "resolved": %q, "integrity": %q}}}`, r.at("token"), integrityOf(r.archives["token"])),
			"frontend/package.json": description("frontend", "node build.js", `"@other/said": "1.0.0"`),
			"frontend/.npmrc":       "@other:registry=" + basic + "\n" + place + "/basic/:username=robot\n" + place + "/basic/:_password=${NPM_PASSWORD}\n",
			"frontend/package-lock.json": fmt.Sprintf(`{"name": "frontend", "lockfileVersion": 3, "requires": true, "packages": {
"": {"name": "frontend", "dependencies": {"@other/said": "1.0.0"}},
"node_modules/@other/said": {"version": "1.0.0", "resolved": %q, "integrity": %q}}}`, r.at("basic"), integrityOf(r.archives["basic"])),
			"frontend/build.js": builds,
		}),
		// It does not say where its packages are.
		front("private_pnpm_"+run, "of @acme", ".", `require("@acme/said")`, map[string]string{
			"package.json": description("private_pnpm", "node build.js", `"@acme/said": "1.0.0"`),
			"build.js":     alone,
			"pnpm-lock.yaml": fmt.Sprintf(`lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .:
    dependencies:
      '@acme/said':
        specifier: 1.0.0
        version: 1.0.0

packages:

  '@acme/said@1.0.0':
    resolution: {integrity: %s}

snapshots:

  '@acme/said@1.0.0': {}
`, integrityOf(r.archives["token"])),
		}),
		front("private_yarn_"+run, "of @acme of @other", ".", `require("@acme/said"), require("@other/said")`, map[string]string{
			"package.json": description("private_yarn", "node build.js", `"@acme/said": "1.0.0", "@other/said": "1.0.0"`),
			"build.js":     alone,
			".npmrc":       "@other:registry=" + basic + "\n" + place + "/basic/:_auth=${NPM_LOGIN}\n",
			"yarn.lock": fmt.Sprintf("# yarn lockfile v1\n\n\n\"@acme/said@1.0.0\":\n  version \"1.0.0\"\n  resolved %q\n  integrity %s\n\n\"@other/said@1.0.0\":\n  version \"1.0.0\"\n  resolved %q\n  integrity %s\n",
				r.at("token"), integrityOf(r.archives["token"]), r.at("basic"), integrityOf(r.archives["basic"])),
		}),
		front("private_berry_"+run, "of @acme of @other", ".", `require("@acme/said"), require("@other/said")`, map[string]string{
			"package.json": strings.Replace(description("private_berry", "node build.js", `"@acme/said": "1.0.0", "@other/said": "1.0.0"`), `"private"`, `"packageManager": "yarn@4.18.1", "private"`, 1),
			"build.js":     alone,
			".yarnrc.yml":  "npmScopes:\n  other:\n    npmAuthIdent: \"robot:${NPM_PASSWORD}\"\n    npmRegistryServer: \"" + basic + "\"\n",
			"yarn.lock":    berryLock,
		}),
		// Another's login is not for it.
		front("private_none_"+run, "", ".", `""`, map[string]string{
			"package.json": `{"name": "private_none", "private": true, "scripts": {"postinstall": "node build.js", "build": "node build.js"}}`,
			"yarn.lock":    "# yarn lockfile v1\n",
			"build.js":     alone,
		}),
	}
}

// berryLock has the checksums by which yarn knows both packages: of the archives that
// it makes of theirs.
const berryLock = `# This file is generated by running "yarn install" inside your project.
# Manual changes might be lost - proceed with caution!

__metadata:
  version: 10
  cacheKey: 10c0

"@acme/said@npm:1.0.0":
  version: 1.0.0
  resolution: "@acme/said@npm:1.0.0"
  checksum: 10c0/e544b4b95fc5c36f202dadad18cb075d46cda98d0f5a24c62c2e348e7a1404443fd65e2578d33b1957bca3feb9be4a3ab627b27132198bea9fdf19fe852cbfec
  languageName: node
  linkType: hard

"@other/said@npm:1.0.0":
  version: 1.0.0
  resolution: "@other/said@npm:1.0.0"
  checksum: 10c0/94ee86aff5b1b0293f7472103509745a981a30b7c41ea7bd3fccffeaee40d83e6e7eaf318f20fa950002d4017472439afd13e1b8324fc9919cb6b842d368fe46
  languageName: node
  linkType: hard

"private_berry@workspace:.":
  version: 0.0.0-use.local
  resolution: "private_berry@workspace:."
  dependencies:
    "@acme/said": "npm:1.0.0"
    "@other/said": "npm:1.0.0"
  languageName: unknown
  linkType: soft
`

// privateRegistry builds apps with modules of private registries, by each of the managers.
func privateRegistry(u *user) {
	t := u.t
	r := serveNpmRegistries(t, gateway(t, u.world))
	selection := apps.Selection{{Owner: "frappe", Name: "frappe", Ref: "v15.1.0"}}
	run := strings.ToLower(rand.Text()[:8])
	for _, s := range r.private(run) {
		entries := common(s.name)
		for name, text := range s.files {
			entries = append(entries, githubtest.Entry{Path: name, Text: text})
		}
		githubtest.New(t, filepath.Join(u.world.Dir, "repositories"), s.repository).CommitEntries("main", entries...)
		selection = append(selection, apps.Ref{Owner: "acme", Name: s.name, Ref: "main"})
	}
	host := strings.TrimPrefix(r.URL, "http://")
	u.fails(u.command("check", "3.0.0", selection), cli.ExitUsage,
		"private_npm_"+run+" main: its .npmrc logs in at "+host+"/token with a variable of the environment",
		"private_npm_"+run+" main: its frontend/.npmrc logs in at "+host+"/basic", "private_berry_"+run+" main: its .yarnrc.yml logs in at "+host+"/basic",
		"set NPM_REGISTRIES to https://user:password@"+host+"/basic")
	// A variable of that name is not what a build gets.
	u.environ = append(u.environ, "NPM_TOKEN="+npmToken)
	bound := "NPM_REGISTRIES=@acme=http://_authToken:" + npmToken + "@" + host + "/token, http://robot:open%26sesame%40npm@" + host + "/basic/"
	u.with(strings.ReplaceAll(bound, npmToken, "npm_old")).fails(u.command("push", "3.0.0", selection, "--skip-smoke-test"), cli.ExitUsage, "a registry of its node modules wants another login", "NPM_REGISTRIES")
	r.mutex.Lock()
	if r.answered["token"] > 0 || r.refused["token"] == 0 {
		t.Errorf("with an old token answered %v, refused %v", r.answered, r.refused)
	}
	clear(r.answered)
	clear(r.refused)
	r.mutex.Unlock()
	u.environ = append(u.environ, bound)
	u.must(u.command("push", "3.0.0", selection, "--skip-smoke-test")...)
	r.mutex.Lock()
	t.Logf("answered %v", r.answered)
	if r.answered["token"] < 4 || r.answered["basic"] < 1 || len(r.refused) > 0 {
		t.Errorf("answered %v, and asked without the right login: %v", r.answered, r.refused)
	}
	r.mutex.Unlock()
	for _, secret := range []string{npmToken, npmPassword, base64.StdEncoding.EncodeToString([]byte("robot:" + npmPassword))} {
		if strings.Contains(u.printed.String(), secret) {
			t.Errorf("%q was printed", secret)
		}
	}
	target := registry.Target{Host: u.env("REGISTRY"), Name: u.env("IMAGE_NAME")}
	noTracesIn(t, target, func(tag string) bool { return strings.Contains(tag, ".private_") || tag == "3.0.0" },
		[]string{npmToken, npmPassword, base64.StdEncoding.EncodeToString([]byte("robot:" + npmPassword))})
}
