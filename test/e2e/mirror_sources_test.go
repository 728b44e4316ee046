package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"strings"
	"sync"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

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

// locked returns the fixture apps' repositories with a frappe whose yarn.lock
// names the public registry, as real ones do.
func locked(t *testing.T) (root string, selection apps.Selection) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "repositories")
	if _, err := apps.Write(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	selection = apps.Version1()
	for i := range selection {
		selection[i].Private = false
	}
	commitChange(t, filepath.Join(root, "frappe", "frappe.git"), "v15.1.0", "mirrors", func(work string) error {
		file := filepath.Join(work, "yarn.lock")
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		entry := regexp.MustCompile(`(?m)^"?(@?[^@\s"]+)@.*:\n  version "([^"]+)"\n`)
		changed := entry.ReplaceAllStringFunc(string(text), func(found string) string {
			match := entry.FindStringSubmatch(found)
			return found + fmt.Sprintf("  resolved \"https://registry.yarnpkg.com/%s/-/%s-%s.tgz\"\n", match[1], path.Base(match[1]), match[2])
		})
		if changed == string(text) {
			return errors.New("yarn.lock has no entries")
		}
		return os.WriteFile(file, []byte(changed), 0o644)
	})
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
