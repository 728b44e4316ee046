package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// user is somebody with a sandbox and the program.
type user struct {
	t       *testing.T
	world   *sandbox.World
	environ []string
	// seen is everything that the program ever printed.
	seen bytes.Buffer
}

func newUser(t *testing.T) *user {
	t.Helper()
	return newUserOf(t, sandbox.Options{Name: "e2e", HTTPPort: 8080, Jump: true})
}

// alone waits until no other test takes the whole machine, and keeps such ones
// from beginning until this one has ended.
func alone(t *testing.T, cache string) {
	t.Helper()
	done, err := localengine.Exclusive(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
}

// newUserOf is a user of a sandbox of their own.
func newUserOf(t *testing.T, options sandbox.Options) *user {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a sandbox: an engine, a registry and a host")
	}
	cache, err := localengine.DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	alone(t, cache)
	options.CacheDir = cache
	options.Log = zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel)
	world, err := sandbox.Start(t.Context(), options)
	if errors.Is(err, debian.ErrUnsupported) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	u := &user{t: t, world: world}
	environ, err := world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	text, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	u.environ = append(environ, "COMPOSE_FILES="+u.write("compose-main.yaml", text))
	return u
}

func (u *user) write(name string, content []byte) string {
	u.t.Helper()
	path := filepath.Join(u.world.Dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// apps writes an apps.json with a selection and gives the flags for it.
func (u *user) apps(version string, selection apps.Selection) []string {
	u.t.Helper()
	list, err := selection.AppsJSON(u.world.GitHub.URL())
	if err != nil {
		u.t.Fatal(err)
	}
	return []string{"--env-file", "", "--version", version, "--apps", u.write("apps-"+version+".json", list)}
}

// run runs the program and gives its exit code and what it printed.
func (u *user) run(args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(u.t.Context(), args, u.environ, strings.NewReader(""), &out, &errs)
	u.seen.Write(out.Bytes())
	u.seen.Write(errs.Bytes())
	return code, out.String(), errs.String()
}

// must runs the program, which has to succeed, and gives its standard output.
func (u *user) must(args ...string) string {
	u.t.Helper()
	code, out, errs := u.run(args...)
	if code != 0 {
		u.t.Fatalf("%q: exit %d\n%s", args, code, errs)
	}
	return out
}

// get asks the running site, as a visitor would.
func (u *user) get(path string) (int, string) {
	return u.ask(http.MethodGet, path, "")
}

// ask makes a request to the running site through the host's SSH server: the
// sandbox's own tunnel to the site does not come back from every outage.
func (u *user) ask(method, path, body string) (int, string) {
	u.t.Helper()
	request, err := http.NewRequestWithContext(u.t.Context(), method, "http://"+u.siteAddress()+path, strings.NewReader(body))
	if err != nil {
		u.t.Fatal(err)
	}
	request.Host = sandbox.Site
	request.Header.Set("Content-Type", "application/json")
	host := u.connect()
	defer host.Close()
	client := http.Client{Transport: &http.Transport{DialContext: host.DialHost, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		u.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// onHost runs a command on the host.
func (u *user) onHost(argv ...string) string { return u.onHostWith("", argv...) }

// onHostWith runs a command on the host with an input: a secret to look for
// must not be among the arguments.
func (u *user) onHostWith(input string, argv ...string) string {
	u.t.Helper()
	h := u.connect()
	defer h.Close()
	result, err := h.Run(u.t.Context(), argv, host.Options{Stdin: strings.NewReader(input)})
	if err != nil {
		u.t.Fatal(err)
	}
	return result.Stdout
}

// connect logs in to the host.
func (u *user) connect() *host.Host {
	u.t.Helper()
	cfg, report := config.Load(config.Sources{Environ: u.environ}, config.HostAccess, nil)
	if err := report.Err(); err != nil {
		u.t.Fatal(err)
	}
	h, err := host.Dial(u.t.Context(), cfg.Host)
	if err != nil {
		u.t.Fatal(err)
	}
	return h
}

// container is the id of the running container of a service.
func (u *user) container(service string) string {
	u.t.Helper()
	id := strings.TrimSpace(u.onHost("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.service="+service))
	if id == "" || strings.Contains(id, "\n") {
		u.t.Fatalf("the containers of %s are %q", service, id)
	}
	return id
}

// webSocket opens the connection over which a page gets live updates.
func (u *user) webSocket() net.Conn {
	u.t.Helper()
	connection, err := net.Dial("tcp", u.world.Host.SiteAddress())
	if err != nil {
		u.t.Fatal(err)
	}
	_, err = fmt.Fprintf(connection, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", sandbox.Site)
	if err != nil {
		u.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		u.t.Fatalf("open a WebSocket: %v, %v", response, err)
	}
	return connection
}

// TestRelease is the whole way: a first release, one over it, one that fails,
// and what the program says of them, in the order in which a user would do it.
func TestRelease(t *testing.T) {
	u := newUser(t)
	first := u.apps("1.0.0", apps.Version1())

	t.Run("check finds everything at once", func(t *testing.T) {
		u.t = t
		flags := u.apps("0.0.1", apps.Version1().With("hrms", "v15.99.0").With("erpnext", "v14.0.0"))
		code, _, errs := u.run(append([]string{"check"}, flags...)...)
		if code != cli.ExitUsage {
			t.Errorf("exit %d", code)
		}
		for _, want := range []string{
			"hrms v15.99.0: no such tag, branch or commit in frappe/hrms", "erpnext v14.0.0: no such tag, branch or commit in frappe/erpnext", "nearest",
		} {
			if !strings.Contains(errs, want) {
				t.Errorf("%q is not in\n%s", want, errs)
			}
		}
	})

	t.Run("apps that do not fit together", func(t *testing.T) {
		u.t = t
		code, _, errs := u.run(append([]string{"build"}, u.apps("0.0.2", apps.Version1().With("misfit", "v1.0.1"))...)...)
		if code != cli.ExitUsage || !strings.Contains(errs, "misfit") || !strings.Contains(errs, "redis") || !strings.Contains(errs, "frappe") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})

	t.Run("plan changes nothing", func(t *testing.T) {
		u.t = t
		out := u.must(append([]string{"plan"}, first...)...)
		for _, want := range []string{"Release 1.0.0", "v15.1.0", "up: bring the new release up"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		if left := u.onHost("docker", "ps", "--all", "--quiet"); left != "" {
			t.Errorf("containers on the host: %s", left)
		}
	})

	t.Run("a first release makes the site", func(t *testing.T) {
		u.t = t
		out := u.must(append([]string{"release", "--yes"}, first...)...)
		if !regexp.MustCompile(`^desiredeffect/erpnext-custom:1\.0\.0@sha256:[0-9a-f]{64}\n$`).MatchString(out) {
			t.Errorf("printed %q", out)
		}
		if code, body := u.get("/api/method/ping"); code != 200 || !strings.Contains(body, "pong") {
			t.Errorf("ping: %d %s", code, body)
		}
		code, page := u.get("/login")
		asset := regexp.MustCompile(`/assets/[^"']+\.js`).FindString(page)
		if code != 200 || asset == "" {
			t.Fatalf("login page: %d\n%s", code, page)
		}
		if code, _ := u.get(asset); code != 200 {
			t.Errorf("%s: %d", asset, code)
		}
	})

	t.Run("assets of the release before stay within reach", func(t *testing.T) {
		u.t = t
		const asset = "/assets/frappe/dist/js/before.bundle.ABCDEFGH.js"
		if code, _ := u.get(asset); code != http.StatusNotFound {
			t.Errorf("an asset of no release: %d", code)
		}
		u.onHost("docker", "exec", u.container("backend"), "sh", "-c",
			"mkdir -p sites/bridge"+filepath.Dir(asset)+" && echo before >sites/bridge"+asset)
		if code, body := u.get(asset); code != http.StatusOK || body != "before\n" {
			t.Errorf("an asset of the release before: %d %q", code, body)
		}
	})

	t.Run("every service ends when it is told to", func(t *testing.T) {
		u.t = t
		// A page that is open does not hold the frontend.
		defer u.webSocket().Close()
		services := []string{"frontend", "websocket", "backend", "queue-short", "queue-long", "scheduler", "traefik", "redis-cache", "redis-queue", "db"}
		out := u.onHost(append([]string{"sh", "-euc", `for service; do
			id=$(docker ps --quiet --filter "label=com.docker.compose.service=$service")
			begun=$(date +%s%3N)
			docker stop --time 60 "$id" >/dev/null
			echo "$service $(($(date +%s%3N) - begun)) $(docker inspect --format '{{.State.ExitCode}}' "$id")"
			done`, "end"}, services...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != len(services) {
			t.Fatalf("printed %q", out)
		}
		for _, line := range lines {
			var service string
			var milliseconds, code int
			if _, err := fmt.Sscan(line, &service, &milliseconds, &code); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			t.Logf("%s ended in %d ms with exit code %d", service, milliseconds, code)
			// Two seconds, and one for a machine that is busy. 137 is a kill.
			if milliseconds > 3000 || code == 137 {
				t.Errorf("%s ended after %d ms with exit code %d", service, milliseconds, code)
			}
		}
		// And all of it comes back.
		u.onHost("sh", "-euc", `cd "$HOME/$0/current" && docker compose -p "$0" -f compose-main.yaml --env-file .env up --detach --wait --wait-timeout 300 2>&1 </dev/null`, sandbox.Project)
		if code, body := u.get("/api/method/ping"); code != http.StatusOK {
			t.Errorf("ping after the start: %d %s", code, body)
		}
	})

	t.Run("the everyday commands", func(t *testing.T) {
		u.t = t
		u.everyday()
	})

	t.Run("push to a registry that asks for a password", func(t *testing.T) {
		u.t = t
		guarded := u.guardedRegistry("robot", "open-sesame-2026")
		flags := append([]string{"push"}, u.apps("1.0.1", apps.Version1())...)
		code, _, errs := u.with("REGISTRY="+guarded, "REGISTRY_USERNAME=robot", "REGISTRY_PASSWORD=not-the-password").run(flags...)
		if code != cli.ExitUsage || !strings.Contains(errs, "refuses the credentials") || strings.Contains(errs, "not-the-password") {
			t.Errorf("exit %d\n%s", code, errs)
		}
		code, out, errs := u.with("REGISTRY="+guarded, "REGISTRY_USERNAME=robot", "REGISTRY_PASSWORD=open-sesame-2026").run(flags...)
		if code != 0 || !strings.HasPrefix(out, guarded+"/desiredeffect/erpnext-custom:1.0.1@sha256:") || strings.Contains(errs, "open-sesame-2026") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
		// The same image again is no problem, another one under its name is.
		same := u.with("REGISTRY="+guarded, "REGISTRY_USERNAME=robot", "REGISTRY_PASSWORD=open-sesame-2026")
		if again := same.must(flags...); again != out {
			t.Errorf("pushed again: %q, want %q", again, out)
		}
		other := append([]string{"push"}, u.apps("1.0.1", apps.Version1().With("erpnext", "v15.1.1"))...)
		if code, _, errs := same.run(other...); code != cli.ExitUsage || !strings.Contains(errs, "is released already") {
			t.Errorf("another image as 1.0.1: exit %d\n%s", code, errs)
		}
	})

	t.Run("an image is smoke-tested, listed and signed", func(t *testing.T) {
		u.t = t
		address := u.guardedRegistry("robot", "open-sesame-2026")
		key := signingKey(t)
		signing := u.with("REGISTRY="+address, "REGISTRY_USERNAME=robot", "REGISTRY_PASSWORD=open-sesame-2026", "SIGNING_KEY="+key)
		page := filepath.Join(u.world.Dir, "timeline.html")
		out := signing.must(append([]string{"push", "--timeline", page}, u.apps("1.0.3", apps.Version1())...)...)
		_, digest, _ := strings.Cut(strings.TrimSpace(out), "@")
		image, err := name.NewDigest(address + "/desiredeffect/erpnext-custom@" + digest)
		if err != nil {
			t.Fatal(err)
		}
		login := remote.WithAuth(&authn.Basic{Username: "robot", Password: "open-sesame-2026"})
		for kind, want := range map[string][]string{
			smoketest.ArtifactType: {"a site is made, with every app installed", "a job goes through the worker", "the site migrates", digest},
			attest.SBOMType:        {"CycloneDX", "pkg:pypi/redis@", "pkg:npm/esbuild@", "pkg:deb/debian/nginx@", "pkg:github/frappe/erpnext@"},
		} {
			text, err := attest.Attached(t.Context(), image, kind, login)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range want {
				if !bytes.Contains(text, []byte(part)) {
					t.Errorf("%s: %q is not in\n%.2000s", kind, part, text)
				}
			}
		}
		signer, err := attest.NewSigner(attest.Key{PEM: secret.New(key)})
		if err != nil {
			t.Fatal(err)
		}
		public, err := signer.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if err := attest.Verify(t.Context(), image, public, login); err != nil {
			t.Error(err)
		}
		timeline, err := os.ReadFile(page)
		if err != nil || !bytes.Contains(timeline, []byte("smoke test")) || !bytes.Contains(timeline, []byte("critical path")) {
			t.Errorf("timeline: %v\n%.500s", err, timeline)
		}
		// That it was not tested is written down as well.
		signing.must(append([]string{"push", "--skip-smoke-test"}, u.apps("1.0.4", apps.Version1().With("erpnext", "v15.1.1"))...)...)
		if _, _, errs := signing.run(append([]string{"push", "--skip-smoke-test"}, u.apps("1.0.4", apps.Version1().With("erpnext", "v15.1.1"))...)...); !strings.Contains(errs, "not smoke-tested") {
			t.Errorf("pushed again:\n%s", errs)
		}
	})

	t.Run("an image that does not work gets no tag", func(t *testing.T) {
		u.t = t
		u.breakApp("frappe", "payments", "version-15", "broken", "payments/hooks.py", "import nowhere_to_be_found")
		selection := apps.Version1().With("payments", "broken")
		code, out, errs := u.run(append([]string{"push"}, u.apps("1.0.5", selection)...)...)
		if code != cli.ExitFailed || out != "" || !strings.Contains(errs, "every app imports") || !strings.Contains(errs, "nowhere_to_be_found") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
		if code, _, errs := u.run("deploy", "1.0.5", "--yes", "--env-file", ""); code != cli.ExitUsage || !strings.Contains(errs, "there is no") {
			t.Errorf("deploy: exit %d\n%s", code, errs)
		}
	})

	t.Run("an image is rebuilt from its lock", func(t *testing.T) {
		u.t = t
		lock, archive := filepath.Join(u.world.Dir, "lock.json"), filepath.Join(u.world.Dir, "image.tar")
		u.must(append([]string{"build", "--lock", lock}, u.apps("1.0.0", apps.Version1())...)...)
		first, _ := u.built("1.0.0")
		code, _, errs := u.run("rebuild", "--lock", lock, "--output", archive, "--env-file", "", "--apps", filepath.Join(u.world.Dir, "apps-1.0.0.json"))
		if code != 0 || !strings.Contains(errs, first) {
			t.Errorf("exit %d, want %s in\n%s", code, first, errs)
		}
		if index := u.archived(archive); !strings.Contains(index, first) {
			t.Errorf("the archive has %s, want %s", index, first)
		}
		// From the record on the host, and under its version, which names it.
		code, out, errs := u.run("rebuild", "1.0.0", "--env-file", "", "--apps", filepath.Join(u.world.Dir, "apps-1.0.0.json"))
		if code != 0 || !strings.Contains(out, first) || !strings.Contains(errs, "it is the image that the version names") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
	})

	t.Run("packages move when told to", func(t *testing.T) {
		u.t = t
		out := u.must(append([]string{"plan"}, u.apps("1.0.6", apps.Version1())...)...)
		if !strings.Contains(out, "none moves") {
			t.Errorf("plan:\n%s", out)
		}
		out = u.must(append([]string{"plan", "--upgrade-packages=click"}, u.apps("1.0.6", apps.Version1())...)...)
		if !regexp.MustCompile(`of which move\n  click \S+ → \S+\n`).MatchString(out) {
			t.Errorf("plan with --upgrade-packages=click:\n%s", out)
		}
	})

	t.Run("only what a change touches is built", func(t *testing.T) {
		u.t = t
		u.breakApp("desiredeffect", "de_customs", "v0.0.5", "one-line", "de_customs/reports.py", "CHANGED = True")
		_, _, errs := u.run(append([]string{"push", "--skip-smoke-test"}, u.apps("1.0.7", apps.Version1().With("de_customs", "one-line"))...)...)
		for line := range strings.Lines(errs) {
			if strings.Contains(line, `"took"`) && !strings.Contains(line, `"cached":true`) && !regexp.MustCompile(`"message":"(app de_customs|push|resolved every.*)"`).MatchString(line) {
				t.Errorf("was built: %s", line)
			}
		}
		if !strings.Contains(errs, `"message":"app de_customs"`) {
			t.Errorf("de_customs was not built:\n%s", errs)
		}
		_, _, errs = u.run(append([]string{"push", "--skip-smoke-test", "--no-cache=hrms"}, u.apps("1.0.8", apps.Version1())...)...)
		for _, name := range []string{"app hrms", "front hrms", "assets hrms"} {
			if !regexp.MustCompile(`"took":"[^"]+","time":"[^"]+","message":"` + name).MatchString(errs) {
				t.Errorf("--no-cache=hrms did not build %s anew:\n%s", name, errs)
			}
		}
	})

	t.Run("build --load", func(t *testing.T) {
		u.t = t
		if err := exec.CommandContext(t.Context(), "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
			t.Skip("Docker does not run on this machine")
		}
		u.must(append([]string{"build", "--load"}, u.apps("1.0.2", apps.Version1())...)...)
		out, err := exec.CommandContext(t.Context(), "docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "desiredeffect/erpnext-custom:1.0.2").Output()
		if err != nil || strings.TrimSpace(string(out)) != "desiredeffect/erpnext-custom:1.0.2" {
			t.Errorf("docker images shows %q, %v", out, err)
		}
		if out, err := exec.CommandContext(t.Context(), "docker", "rmi", "desiredeffect/erpnext-custom:1.0.2").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})

	t.Run("a version is released once", func(t *testing.T) {
		u.t = t
		code, _, errs := u.run(append([]string{"release", "--yes"}, first...)...)
		if code != cli.ExitUsage || !strings.Contains(errs, "1.0.0") || !strings.Contains(errs, "already") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})

	t.Run("a release over it migrates", func(t *testing.T) {
		u.t = t
		u.must(append([]string{"release", "--yes"}, u.apps("2.0.0", apps.Version1().With("erpnext", "v15.1.1"))...)...)
		if _, body := u.get("/api/method/version"); !strings.Contains(body, `"erpnext": "15.1.1"`) {
			t.Errorf("versions: %s", body)
		}
		var record release.Record
		if err := json.Unmarshal([]byte(u.must("show", "2.0.0", "--json", "--env-file", "")), &record); err != nil {
			t.Fatal(err)
		}
		if record.Previous != "1.0.0" || record.Downtime <= 0 || record.Downtime > 120 {
			t.Errorf("replaced %q with a downtime of %v s", record.Previous, record.Downtime)
		}
		if status := u.must("status", "--env-file", ""); !strings.Contains(status, "2.0.0") || strings.Contains(status, "✗") {
			t.Errorf("status:\n%s", status)
		}
		history := u.must("history", "--env-file", "")
		if one, two := strings.Index(history, "\n1.0.0"), strings.Index(history, "\n2.0.0"); one < 0 || two < 0 || one < two {
			t.Errorf("history:\n%s", history)
		}
	})

	t.Run("what fails is put back", func(t *testing.T) {
		u.t = t
		u.watchArguments()
		u.faults(t)
	})

	t.Run("secrets are nowhere", func(t *testing.T) {
		u.t = t
		u.noSecrets()
	})
}

// with is the same user with more in the environment.
func (u *user) with(environ ...string) *user {
	return &user{t: u.t, world: u.world, environ: append(slices.Clone(u.environ), environ...)}
}

// signingKey is a new key, in PEM.
func signingKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// breakApp adds a line to a file of an app, on a new branch.
func (u *user) breakApp(owner, app, ref, branch, file, line string) {
	u.t.Helper()
	bare := filepath.Join(u.world.Dir, "repositories", owner, app+".git")
	commitLine(u.t, bare, ref, branch, file, line)
}

// commitLine adds a line to a file of a bare repository, on a new branch.
func commitLine(t *testing.T, bare, ref, branch, file, line string) {
	t.Helper()
	work := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	git("clone", "--quiet", "--branch", ref, bare, work)
	to, err := os.OpenFile(filepath.Join(work, file), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintln(to, line)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	git("-C", work, "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "--all", "--message", "Change a line")
	git("-C", work, "push", "--quiet", bare, "HEAD:refs/heads/"+branch)
}

// built gives the digest that a version names on the host's record.
func (u *user) built(version string) (string, release.Record) {
	u.t.Helper()
	var record release.Record
	if err := json.Unmarshal([]byte(u.must("show", version, "--json", "--env-file", "")), &record); err != nil {
		u.t.Fatal(err)
	}
	return record.Image.Digest, record
}

// archived gives the index of an OCI archive.
func (u *user) archived(path string) string {
	u.t.Helper()
	out, err := exec.CommandContext(u.t.Context(), "tar", "--extract", "--to-stdout", "--file", path, "index.json").Output()
	if err != nil {
		u.t.Fatal(err)
	}
	return string(out)
}

// guardedRegistry starts an empty registry behind a login and gives its
// address.
func (u *user) guardedRegistry(username, password string) string {
	u.t.Helper()
	return u.serveRegistry("127.0.0.1", username, password, func(*http.Request) bool { return false })
}

// hostsRegistry is one that the host reaches as well, under the same address.
// It refuses some requests with the right password.
func (u *user) hostsRegistry(username, password string, refuses func(*http.Request) bool) string {
	u.t.Helper()
	host, _, _ := strings.Cut(u.onHost("hostname", "-I"), " ")
	// Nothing is sent: the machine only says by which of its addresses it would.
	way, err := net.Dial("udp", net.JoinHostPort(host, "22"))
	if err != nil {
		u.t.Fatal(err)
	}
	defer way.Close()
	return u.serveRegistry(way.LocalAddr().(*net.UDPAddr).IP.String(), username, password, refuses)
}

func (u *user) serveRegistry(address, username, password string, refuses func(*http.Request) bool) string {
	u.t.Helper()
	open, err := registry.Serve(u.t.Context(), filepath.Join(u.world.Dir, "guarded"))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = open.Close() })
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: open.Address()})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, word, _ := r.BasicAuth(); name != username || word != password || refuses(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		behind.ServeHTTP(w, r)
	}))
	_ = server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", net.JoinHostPort(address, "0")); err != nil {
		u.t.Fatal(err)
	}
	server.Start()
	u.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// noSecrets looks for the token and the passwords wherever they could have
// been left.
func (u *user) noSecrets() {
	u.t.Helper()
	token := u.world.Token.Reveal()
	places := map[string]string{"what the program printed": u.seen.String()}
	log, err := os.ReadFile(u.world.Engine.LogFile())
	if err != nil {
		u.t.Fatal(err)
	}
	places["the engine's log"] = string(log)
	places["process arguments"] = commandLines(u.t)
	places["process arguments of the host"] = u.onHost("ps", "-eo", "args")
	u.onHost("touch", "stop-watching")
	places["process arguments of the host, all the time"] = u.onHost("cat", "arguments")
	places["image history"] = u.onHost("sh", "-c", `for i in $(docker images -q | sort -u); do docker history --no-trunc "$i"; docker image inspect "$i"; done`)
	for place, text := range places {
		if strings.Contains(text, token) {
			u.t.Errorf("the token is in %s", place)
		}
	}
	for _, place := range []string{"/home/deploy", "/var/log"} {
		if found := u.onHostWith(token, "sh", "-c", "grep -rlF -f - "+place+" 2>/dev/null | head -n 3; true"); found != "" {
			u.t.Errorf("the token is on the host in %s", found)
		}
	}
	if found := u.onHostWith(token, "docker", "exec", "--interactive", "--user", "root", u.container("backend"), "sh", "-c",
		"grep -rlF -f - /home /etc /usr/local /opt /tmp /var 2>/dev/null | head -n 3; true"); found != "" {
		u.t.Errorf("the token is in the image: %s", found)
	}
	for _, name := range []string{"ADMIN_PASSWORD", "DB_ROOT_PASSWORD"} {
		at := slices.IndexFunc(u.environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		value := strings.TrimPrefix(u.environ[at], name+"=")
		for place, text := range places {
			if strings.Contains(text, value) {
				u.t.Errorf("%s is in %s", name, place)
			}
		}
		// It belongs into the .env of a release, which only its owner can read,
		// and into no other file.
		found := u.onHostWith(value, "sh", "-c", "grep -rlF -f - /home/deploy /var/log 2>/dev/null | grep -v '/releases/[^/]*/[.]env$' | head -n 3; true")
		if found != "" {
			u.t.Errorf("%s is on the host in %s", name, found)
		}
	}
	if open := u.onHost("find", sandbox.Project, "-type", "f", "-perm", "/077"); open != "" {
		u.t.Errorf("others can read on the host: %s", open)
	}
}

// watchArguments has the host write down the arguments of every process from
// now on, each once.
func (u *user) watchArguments() {
	u.t.Helper()
	u.onHost("sh", "-c", `setsid sh -c 'while [ ! -e stop-watching ]; do
		cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n"
		sleep 0.1
	done | awk "!seen[\$0]++ { print; fflush() }" >arguments' >/dev/null 2>&1 </dev/null &`)
}

// commandLines are the arguments of every process on this machine.
func commandLines(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
