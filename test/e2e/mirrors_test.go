package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

// TestMirrors builds with everything from a company's own servers, on an
// engine with an empty cache, so that every step downloads what it needs.
func TestMirrors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image on an engine of its own")
	}
	t.Parallel() // beside TestRelease, which waits more than it works
	list[*mirrored]{
		{"PyPI without the CA", (*mirrored).pypiWithoutCA},
		{"npm without the CA", (*mirrored).npmWithoutCA},
		{"a wrong checksum", (*mirrored).wrongChecksum},
		{"an image is pushed", (*mirrored).pushes},
		// From here on 1.0.0 is in the registry.
		{"every mirror was asked", (*mirrored).mirrorsWereAsked},
		{"no traces", (*mirrored).noTraces},
		{"the lock is that of the public servers", (*mirrored).sameLock},
		{"wkhtmltopdf and Chromium run", (*mirrored).downloadsRun},
	}.run(newMirrored(t), t)
}

// mirrored is a user whose company has servers of its own.
type mirrored struct {
	*user
	server *mirror
	// base is the mirror of base images, of which baseManifests counts the
	// manifests that were asked for.
	base          string
	baseManifests func() int
	target        registry.Target
	deb, archive  []byte
	// public is the environment without the mirrors of packages. Base images
	// and downloads are part of a lock, so they stay.
	public []string
	// out and errs are what the push of 1.0.0 printed.
	out, errs *string
}

func (m *mirrored) in(t *testing.T) *mirrored {
	other := *m
	other.user = m.user.in(t)
	return &other
}

func newMirrored(t *testing.T) *mirrored {
	t.Helper()
	u := withTurn(t)
	repositories, selection := locked(t)
	prepareBaseImages(t)
	world := emptyEngine(t, repositories)
	u.world = world
	m := &mirrored{user: u, server: startMirror(t, gateway(t, world)), out: new(string), errs: new(string)}
	m.base, m.baseManifests = imageMirror(t, world.Engine.Mirror())
	store, err := registry.Serve(t.Context(), filepath.Join(t.TempDir(), "registry"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	m.target = registry.Target{Host: store.Address(), Name: "desiredeffect/erpnext-custom"}

	m.deb, m.archive = downloads(t)
	m.server.files["wkhtmltopdf-"+runtime.GOARCH+".deb"], m.server.files["chrome-headless-shell.zip"] = m.deb, m.archive
	content, err := selection.AppsJSON(world.GitHub.URL())
	if err != nil {
		t.Fatal(err)
	}
	environ, err := world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	files := m.server.downloads.URL + "/files/"
	m.public = append(environ, "APPS_FILE="+m.write("apps.json", content), "REGISTRY="+store.Address(), "IMAGE_MIRROR="+m.base,
		"WKHTMLTOPDF_URL="+files+"wkhtmltopdf-{arch}.deb", fmt.Sprintf("WKHTMLTOPDF_SHA256=%s=%x", runtime.GOARCH, sha256.Sum256(m.deb)),
		"CHROMIUM="+files+"chrome-headless-shell.zip", fmt.Sprintf("CHROMIUM_SHA256=%x", sha256.Sum256(m.archive)),
	)
	m.environ = append(m.public[:len(m.public):len(m.public)],
		"PYPI_INDEX_URL="+m.server.at("/pypi/simple"), "NPM_REGISTRY_URL="+m.server.at("/npm/"), "APT_MIRROR_URL="+m.server.at(""),
	)
	return m
}

// credentials are texts that may appear nowhere.
func (m *mirrored) credentials() []string {
	return []string{
		m.server.password, url.UserPassword(m.server.username, m.server.password).String(), url.QueryEscape(m.server.password),
		strings.TrimPrefix(m.server.password, "open&sesame@"), base64.StdEncoding.EncodeToString([]byte(m.server.username + ":" + m.server.password)),
	}
}

// push pushes a version, and looks for credentials in what the program prints.
func (m *mirrored) push(version string, environ ...string) (code int, out, errs string) {
	m.t.Helper()
	start := time.Now()
	code, out, errs = m.with(environ...).run("push", "--skip-smoke-test", "--version", version)
	m.t.Logf("push of %s: exit %d after %.0f s", version, code, time.Since(start).Seconds())
	for _, text := range m.credentials() {
		if strings.Contains(out+errs, text) {
			m.t.Errorf("the program printed %q:\n%s", text, errs)
		}
	}
	return code, out, errs
}

// withCA is what a push needs besides the addresses.
func (m *mirrored) withCA() string {
	return "EXTRA_CA_FILE=" + m.write("company.pem", []byte(m.server.ca))
}

func (m *mirrored) pypiWithoutCA(*testing.T) {
	m.pushFails("0.0.1", nil, "certificate verify failed", m.server.URL+"/pypi/simple", "EXTRA_CA_FILE")
}

func (m *mirrored) npmWithoutCA(*testing.T) {
	m.pushFails("0.0.1", []string{"PYPI_INDEX_URL="}, "unable to verify the first certificate", "NPM_REGISTRY_URL", "EXTRA_CA_FILE")
}

func (m *mirrored) wrongChecksum(t *testing.T) {
	wrong := strings.Repeat("0", 64)
	m.pushFails("0.0.2", []string{m.withCA(), "CHROMIUM_SHA256=" + wrong},
		fmt.Sprintf("chrome-headless-shell.zip: its SHA-256 checksum is %x, not %s", sha256.Sum256(m.archive), wrong))
	for _, version := range []string{"0.0.1", "0.0.2"} {
		if digest, err := registry.Released(t.Context(), m.target, version); err != nil || digest != "" {
			t.Errorf("pushed %s: %q, %v", version, digest, err)
		}
	}
}

func (m *mirrored) pushFails(version string, environ []string, texts ...string) {
	m.t.Helper()
	code, _, errs := m.push(version, environ...)
	if code != cli.ExitFailed {
		m.t.Errorf("exit %d\n%s", code, errs)
	}
	m.has(errs, texts...)
}

func (m *mirrored) pushes(t *testing.T) {
	code, out, errs := m.push("1.0.0", m.withCA())
	if code != cli.ExitDone {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	*m.out, *m.errs = out, errs
}

func (m *mirrored) mirrorsWereAsked(t *testing.T) {
	count := m.server.count
	for what, n := range map[string]int{
		"base images": m.baseManifests(), "PyPI's index": count(`^/pypi/simple/`), "wheels": count(`^/pypi/elsewhere/.*\.whl$`),
		"npm's packages": count(`^/npm/yarn$`), "npm's archive of yarn": count(`^/npm/yarn/-/.*\.tgz$`),
		"archives in yarn.lock": count(`^/npm/cookie/-/.*\.tgz$`), "packages without an address in yarn.lock": count(`^/npm/[^/]*esbuild[^/]*$`),
		"Debian's lists": count(`^/debian/dists/`), "Debian's security lists": count(`^/debian-security/dists/`), "Debian's packages": count(`\.deb$`),
		"wkhtmltopdf": count(`^/files/wkhtmltopdf-`), "chrome-headless-shell": count(`^/files/chrome`),
	} {
		t.Logf("%s: %d requests", what, n)
		if n == 0 {
			t.Errorf("the mirror was not asked for %s", what)
		}
	}
	if n := count(`^/debian/.*/wkhtmltopdf`); n != 0 {
		t.Error("Debian's wkhtmltopdf was fetched as well")
	}
}

// noTraces looks for the company's servers in what the program printed where
// nothing failed, and in the image.
func (m *mirrored) noTraces(t *testing.T) {
	// What is part of others stands for them.
	traces := append(m.credentials()[3:], m.server.Listener.Addr().String(), m.base, m.server.name)
	for _, ca := range append(machineCAs(t), m.server.ca) {
		traces = append(traces, strings.Split(ca, "\n")[2])
	}
	for _, text := range traces {
		if strings.Contains(*m.out+*m.errs, text) {
			t.Errorf("the program printed %q:\n%s", text, *m.errs)
		}
	}
	noTraces(t, m.target, traces)
}

// sameLock has the Python packages resolved once more, from the public servers:
// nothing was resolved yet with this limit, which limits nothing. All else is
// in the registry.
func (m *mirrored) sameLock(t *testing.T) {
	public := *m.user
	public.environ = append(m.public, "PACKAGES_AS_OF=2999-01-01")
	code, _, errs := public.run("push", "--skip-smoke-test", "--version", "2.0.0")
	if code != cli.ExitDone {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	if !regexp.MustCompile(`"took":"[^"]+","time":"[^"]+","message":"packages"`).MatchString(errs) {
		t.Errorf("the packages were not resolved again:\n%s", errs)
	}
	lock, err := registry.LockOf(t.Context(), m.target, "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	again, err := registry.LockOf(t.Context(), m.target, "2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if again.Requirements != lock.Requirements {
		t.Errorf("with mirrors:\n%s\nwithout:\n%s", lock.Requirements, again.Requirements)
	}
}

func (m *mirrored) downloadsRun(t *testing.T) {
	_, digest, _ := strings.Cut(strings.TrimSpace(*m.out), "@")
	printed, err := m.target.Container(m.world.Client, digest, dagger.Platform("linux/"+runtime.GOARCH)).
		WithExec([]string{"sh", "-ec", "wkhtmltopdf --version\n/home/frappe/frappe-bench/chromium/chrome-linux/headless_shell\ndpkg-query --show wkhtmltopdf"}).Stdout(t.Context())
	if err != nil || !strings.HasPrefix(printed, "wkhtmltopdf 0.12") || !strings.Contains(printed, "Chromium in name") || !strings.HasSuffix(strings.TrimSpace(printed), "+patched") {
		t.Errorf("%q, %v", printed, err)
	}
}
