package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

// mirror is a company's server with everything that a build downloads, behind
// a login and a certificate of the company's own CA. It passes on to the
// public servers.
type mirror struct {
	*httptest.Server
	// downloads is the same at another port: where a download is from is no
	// secret, and the image says it.
	downloads *httptest.Server
	ca        string
	// name is in the CA's certificate and nowhere else.
	name     string
	username string
	password string
	// files are for everybody, by name.
	files map[string][]byte

	mutex sync.Mutex
	// asked are the paths that were answered, and elsewhere the hosts that
	// an index pointed to.
	asked     []string
	elsewhere map[string]bool
}

// startMirror listens on an address that the engine's containers reach.
func startMirror(t *testing.T, address string) *mirror {
	t.Helper()
	m := &mirror{
		name: "ca-" + rand.Text(), username: "robot", password: "open&sesame@" + rand.Text(),
		files: map[string][]byte{}, elsewhere: map[string]bool{},
	}
	certificate := m.certificate(t, address)
	for _, at := range []**httptest.Server{&m.Server, &m.downloads} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(m)
		_ = server.Listener.Close()
		server.Listener = listener
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client without the CA breaks off
		server.StartTLS()
		t.Cleanup(server.Close)
		*at = server
	}
	return m
}

// certificate makes the CA and a certificate for an address.
func (m *mirror) certificate(t *testing.T, address string) tls.Certificate {
	t.Helper()
	sign := func(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if by == nil {
			by = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: m.name},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, rootKey := sign(root, root, nil)
	m.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}))
	der, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mirror"}, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, rootKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// at is a URL with the credentials in it.
func (m *mirror) at(path string) string {
	u := url.URL{Scheme: "https", User: url.UserPassword(m.username, m.password), Host: m.Listener.Addr().String(), Path: path}
	return u.String()
}

// link is an address elsewhere in an index.
var link = regexp.MustCompile(`https://([a-z0-9.-]+)/`)

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, public := strings.CutPrefix(r.URL.Path, "/files/")
	if username, password, _ := r.BasicAuth(); !public && (username != m.username || password != m.password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.note(r.URL.Path)
	kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var rewrite func(string) string
	target := &url.URL{Scheme: "https"}
	switch kind {
	case "files":
		http.ServeContent(w, r, file, time.Time{}, bytes.NewReader(m.files[file]))
		return
	case "debian", "debian-security":
		target.Scheme, target.Host, rest = "http", "deb.debian.org", kind+"/"+rest
	case "npm":
		target.Host = "registry.npmjs.org"
		rewrite = func(text string) string {
			return strings.ReplaceAll(text, "https://"+target.Host+"/", m.URL+"/npm/")
		}
	case "pypi":
		target.Host = "pypi.org"
		if host, below, _ := strings.Cut(strings.TrimPrefix(rest, "elsewhere/"), "/"); m.known(host) {
			target.Host, rest = host, below
			break
		}
		rewrite = func(text string) string {
			return link.ReplaceAllStringFunc(text, func(found string) string {
				host := link.FindStringSubmatch(found)[1]
				m.know(host)
				return "/pypi/elsewhere/" + host + "/"
			})
		}
	default:
		http.NotFound(w, r)
		return
	}
	target.Path = "/" + rest
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = target, target.Host
			p.Out.Header.Del("Authorization")
			if rewrite != nil {
				p.Out.Header.Set("Accept-Encoding", "identity")
			}
		},
		ModifyResponse: func(response *http.Response) error {
			kind := response.Header.Get("Content-Type")
			if rewrite == nil || !strings.Contains(kind, "json") && !strings.Contains(kind, "html") {
				return nil
			}
			text, err := io.ReadAll(response.Body)
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			changed := rewrite(string(text))
			response.Body = io.NopCloser(strings.NewReader(changed))
			response.ContentLength = int64(len(changed))
			response.Header.Set("Content-Length", fmt.Sprint(len(changed)))
			return nil
		},
	}
	proxy.ServeHTTP(w, r)
}

func (m *mirror) note(path string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.asked = append(m.asked, path)
}

func (m *mirror) know(host string) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.elsewhere[host] = true
}

func (m *mirror) known(host string) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.elsewhere[host]
}

// count says how many of the paths that were asked for match a pattern.
func (m *mirror) count(pattern string) int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	expression, n := regexp.MustCompile(pattern), 0
	for _, path := range m.asked {
		if expression.MatchString(path) {
			n++
		}
	}
	return n
}

// gateway is this machine's address in the network of a sandbox's containers.
// It is there from the first container on.
func gateway(t *testing.T, world *sandbox.World) string {
	t.Helper()
	if _, err := world.Client.Container().From("debian:bookworm-slim").WithExec([]string{"true", rand.Text()}).Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(world.Engine.LogFile()), "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ CIDR string }
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	network, err := netip.ParsePrefix(state.CIDR)
	if err != nil {
		t.Fatal(err)
	}
	return network.Masked().Addr().Next().String()
}

// imageMirror is a mirror of base images under a path, and how many manifests
// it was asked for.
func imageMirror(t *testing.T, behind string) (address string, asked func() int) {
	t.Helper()
	var mutex sync.Mutex
	manifests := 0
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			mutex.Lock()
			manifests++
			mutex.Unlock()
		}
		r.URL.Path = strings.Replace(r.URL.Path, "/v2/hub/", "/v2/", 1)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/hub", func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return manifests
	}
}

// locked gives the fixture apps' repositories with a frappe whose yarn.lock
// names the public registry, as real ones do.
func locked(t *testing.T) (root string, selection apps.Selection) {
	t.Helper()
	git := func(arguments ...string) {
		if out, err := exec.CommandContext(t.Context(), "git", arguments...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", arguments, err, out)
		}
	}
	root = filepath.Join(t.TempDir(), "repositories")
	if _, err := apps.Write(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	selection = apps.Version1()
	for i := range selection {
		selection[i].Private = false
	}
	bare, work := filepath.Join(root, "frappe", "frappe.git"), filepath.Join(t.TempDir(), "frappe")
	git("clone", "--quiet", "--branch", "v15.1.0", bare, work)
	file := filepath.Join(work, "yarn.lock")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile(`(?m)^"?(@?[^@\s"]+)@.*:\n  version "([^"]+)"\n`)
	changed := entry.ReplaceAllStringFunc(string(text), func(found string) string {
		match := entry.FindStringSubmatch(found)
		return found + fmt.Sprintf("  resolved \"https://registry.yarnpkg.com/%s/-/%s-%s.tgz\"\n", match[1], path.Base(match[1]), match[2])
	})
	if changed == string(text) {
		t.Fatal("yarn.lock has no entries")
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	git("-C", work, "-c", "user.name=Mirrors", "-c", "user.email=mirrors@example.com", "commit", "--quiet", "--all", "--message", "Say where modules are")
	git("-C", work, "push", "--quiet", bare, "HEAD:refs/heads/mirrors")
	return root, selection.With("frappe", "mirrors")
}

// downloads are a package of wkhtmltopdf, Debian's in place of the patched
// one, and an archive in the form of chrome-headless-shell's.
func downloads(t *testing.T) (deb, archive []byte) {
	t.Helper()
	dir := t.TempDir()
	download := exec.CommandContext(t.Context(), "apt-get", "download", "wkhtmltopdf")
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	// Of two packages of one version apt takes the one that it likes.
	unpacked, packed := filepath.Join(dir, "unpacked"), filepath.Join(dir, "patched")
	if out, err := exec.CommandContext(t.Context(), "sh", "-euc", `
		dpkg-deb --raw-extract "$1" "$2"
		sed -i '/^Version:/s/$/+patched/' "$2/DEBIAN/control"
		dpkg-deb -Zgzip --build "$2" "$3"`, "sh", found[0], unpacked, packed).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if deb, err = os.ReadFile(packed); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	w := zip.NewWriter(&text)
	shell, err := w.Create("chrome-headless-shell-linux64/chrome-headless-shell")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(shell, "#!/bin/sh\necho Chromium in name\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return deb, text.Bytes()
}

// TestMirrors builds with everything from a company's own servers, on an
// engine with an empty cache, so that every step downloads what it needs.
func TestMirrors(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image on an engine of its own")
	}
	repositories, selection := locked(t)
	world := (&contest{t: t, repositories: repositories}).world("mirrors")
	m := startMirror(t, gateway(t, world))
	base, baseManifests := imageMirror(t, world.Engine.Mirror())
	store, err := registry.Serve(t.Context(), filepath.Join(t.TempDir(), "registry"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	target := registry.Target{Host: store.Address(), Name: "desiredeffect/erpnext-custom"}

	deb, archive := downloads(t)
	m.files["wkhtmltopdf-"+runtime.GOARCH+".deb"], m.files["chrome-headless-shell.zip"] = deb, archive
	list, err := selection.AppsJSON(world.GitHub.URL())
	if err != nil {
		t.Fatal(err)
	}
	environ, err := world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, world: world}
	environ = append(environ, "APPS_FILE="+u.write("apps.json", list), "REGISTRY="+store.Address())
	ca := "EXTRA_CA_FILE=" + u.write("company.pem", []byte(m.ca))
	u.environ = append(environ,
		"PYPI_INDEX_URL="+m.at("/pypi/simple"), "NPM_REGISTRY_URL="+m.at("/npm/"), "APT_MIRROR_URL="+m.at(""), "IMAGE_MIRROR="+base,
		"WKHTMLTOPDF_URL="+m.downloads.URL+"/files/wkhtmltopdf-{arch}.deb", fmt.Sprintf("WKHTMLTOPDF_SHA256=%s=%x", runtime.GOARCH, sha256.Sum256(deb)),
		"CHROMIUM="+m.downloads.URL+"/files/chrome-headless-shell.zip", fmt.Sprintf("CHROMIUM_SHA256=%x", sha256.Sum256(archive)),
	)
	// Credentials may appear nowhere, the rest only where something failed.
	credentials := []string{
		m.password, url.UserPassword(m.username, m.password).String(), url.QueryEscape(m.password), strings.TrimPrefix(m.password, "open&sesame@"),
		base64.StdEncoding.EncodeToString([]byte(m.username + ":" + m.password)),
	}
	push := func(u *user, version string) (code int, out, errs string) {
		start := time.Now()
		code, out, errs = u.run("push", "--skip-smoke-test", "--env-file", "", "--version", version)
		t.Logf("push of %s: exit %d after %.0f s", version, code, time.Since(start).Seconds())
		for _, text := range credentials {
			if strings.Contains(out+errs, text) {
				t.Errorf("the program printed %q:\n%s", text, errs)
			}
		}
		return code, out, errs
	}

	for name, test := range map[string]struct {
		environ []string
		want    []string
	}{
		"PyPI without the CA": {nil, []string{"certificate verify failed", m.URL + "/pypi/simple", "EXTRA_CA_FILE"}},
		"npm without the CA":  {[]string{"PYPI_INDEX_URL="}, []string{"unable to verify the first certificate", "NPM_REGISTRY_URL", "EXTRA_CA_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := push(u.with(test.environ...), "0.0.1")
			for _, want := range test.want {
				if code != cli.ExitFailed || !strings.Contains(errs, want) {
					t.Errorf("exit %d, without %q\n%s", code, want, errs)
				}
			}
		})
	}
	u = u.with(ca)
	t.Run("a wrong checksum", func(t *testing.T) {
		wrong := strings.Repeat("0", 64)
		code, _, errs := push(u.with("CHROMIUM_SHA256="+wrong), "0.0.2")
		want := fmt.Sprintf("chrome-headless-shell.zip: its SHA-256 checksum is %x, not %s", sha256.Sum256(archive), wrong)
		if code != cli.ExitFailed || !strings.Contains(errs, want) {
			t.Errorf("exit %d\n%s", code, errs)
		}
		for _, version := range []string{"0.0.1", "0.0.2"} {
			if digest, err := registry.Released(t.Context(), target, version); err != nil || digest != "" {
				t.Errorf("pushed %s: %q, %v", version, digest, err)
			}
		}
	})
	code, out, errs := push(u, "1.0.0")
	if code != cli.ExitDone {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	for what, n := range map[string]int{
		"base images": baseManifests(), "PyPI's index": m.count(`^/pypi/simple/`), "wheels": m.count(`^/pypi/elsewhere/.*\.whl$`),
		"npm's packages": m.count(`^/npm/yarn$`), "npm's archive of yarn": m.count(`^/npm/yarn/-/.*\.tgz$`),
		"archives in yarn.lock": m.count(`^/npm/cookie/-/.*\.tgz$`), "packages without an address in yarn.lock": m.count(`^/npm/[^/]*esbuild[^/]*$`),
		"Debian's lists": m.count(`^/debian/dists/`), "Debian's security lists": m.count(`^/debian-security/dists/`), "Debian's packages": m.count(`\.deb$`),
		"wkhtmltopdf": m.count(`^/files/wkhtmltopdf-`), "chrome-headless-shell": m.count(`^/files/chrome`),
	} {
		t.Logf("%s: %d requests", what, n)
		if n == 0 {
			t.Errorf("the mirror was not asked for %s", what)
		}
	}
	if n := m.count(`^/debian/.*/wkhtmltopdf`); n != 0 {
		t.Error("Debian's wkhtmltopdf was fetched as well")
	}

	// What is part of others stands for them.
	traces := append(credentials[3:], m.Listener.Addr().String(), base, m.name)
	for _, ca := range append(machineCAs(t), m.ca) {
		traces = append(traces, strings.Split(ca, "\n")[2])
	}
	for _, text := range traces {
		if strings.Contains(out+errs, text) {
			t.Errorf("the program printed %q:\n%s", text, errs)
		}
	}
	t.Run("no traces", func(t *testing.T) { noTraces(t, target, traces) })

	t.Run("the lock is that of the public servers", func(t *testing.T) {
		lock, err := registry.LockOf(t.Context(), target, "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "lock.json")
		var errs bytes.Buffer
		if code := cli.Run(t.Context(), []string{"build", "--no-cache", "--lock", file, "--version", "2.0.0", "--env-file", ""}, environ, strings.NewReader(""), io.Discard, &errs); code != 0 {
			t.Fatalf("exit %d\n%s", code, errs.String())
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var again release.Lock
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if again.Requirements != lock.Requirements {
			t.Errorf("with mirrors:\n%s\nwithout:\n%s", lock.Requirements, again.Requirements)
		}
	})

	t.Run("wkhtmltopdf and Chromium run", func(t *testing.T) {
		_, digest, _ := strings.Cut(strings.TrimSpace(out), "@")
		printed, err := target.Container(world.Client, digest, dagger.Platform("linux/"+runtime.GOARCH)).
			WithExec([]string{"sh", "-ec", "wkhtmltopdf --version\nchromium-headless-shell\ndpkg-query --show wkhtmltopdf"}).Stdout(t.Context())
		if err != nil || !strings.HasPrefix(printed, "wkhtmltopdf 0.12") || !strings.Contains(printed, "Chromium in name") || !strings.HasSuffix(strings.TrimSpace(printed), "+patched") {
			t.Errorf("%q, %v", printed, err)
		}
	})
}

// machineCAs are the CAs that this machine trusts besides the public ones. The
// engine lends them to whatever runs on it.
func machineCAs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/usr/local/share/ca-certificates/*.crt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			all = append(all, string(pem.EncodeToMemory(block)))
		}
	}
	return all
}

// noTraces looks for texts in everything that a registry holds of an image and
// its stages.
func noTraces(t *testing.T, target registry.Target, texts []string) {
	t.Helper()
	repository, err := name.NewRepository(target.Repository())
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repository, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[v1.Hash]bool{}
	for _, tag := range tags {
		one, err := remote.Image(repository.Tag(tag), remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		look := func(what string, read func() (io.ReadCloser, error)) {
			content, err := read()
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			found, err := search(t.Context(), content, texts)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range found {
				t.Errorf("%s: %q is in %s", tag, text, what)
			}
		}
		for what, raw := range map[string]func() ([]byte, error){"the manifest": one.RawManifest, "the configuration": one.RawConfigFile} {
			look(what, func() (io.ReadCloser, error) {
				text, err := raw()
				return io.NopCloser(bytes.NewReader(text)), err
			})
		}
		layers, err := one.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for i, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if !seen[digest] {
				seen[digest] = true
				look(fmt.Sprintf("layer %d", i+1), layer.Uncompressed)
			}
		}
	}
	t.Logf("looked through %d tags and %d layers", len(tags), len(seen))
}

// search gives those of the texts that are in a stream.
func search(ctx context.Context, r io.Reader, texts []string) ([]string, error) {
	const most = 1 << 10 // no text is longer
	found := map[string]bool{}
	window, kept := make([]byte, 1<<20), 0
	for ctx.Err() == nil {
		n, err := io.ReadFull(r, window[kept:])
		have := window[:kept+n]
		for _, text := range texts {
			if !found[text] && bytes.Contains(have, []byte(text)) {
				found[text] = true
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return slices.Sorted(maps.Keys(found)), nil
		}
		if err != nil {
			return nil, err
		}
		kept = copy(window, have[len(have)-most:])
	}
	return nil, ctx.Err()
}
