package image

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// A download is one of its architecture, and the URL is a word whatever is in
// it: the script is run, with a Python that says how it was called.
func TestFetch(t *testing.T) {
	const wanted, other = "00ff", "11ff"
	for name, test := range map[string]struct {
		url          string
		sums         map[string]string
		architecture string
		want         string
	}{
		"for all":        {"https://example.com/a.deb", map[string]string{"": wanted}, "amd64", "https://example.com/a.deb"},
		"one for each":   {"https://example.com/{arch}/a_{arch}.deb", map[string]string{"amd64": other, "arm64": wanted}, "arm64", "https://example.com/arm64/a_arm64.deb"},
		"no sum for it":  {"https://example.com/a.deb", map[string]string{"arm64": wanted}, "amd64", ""},
		"quotes":         {"https://example.com/'; touch $(id) `id` \"x", map[string]string{"": wanted}, "amd64", "https://example.com/%27; touch $(id) `id` \"x"},
		"quotes by arch": {"https://example.com/'{arch}'$HOME", map[string]string{"": wanted}, "arm64", "https://example.com/%27arm64%27$HOME"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "dash", "-euc", fetch(release.Download{URL: test.url, SHA256: test.sums}, "/tmp/file"))
			cmd.Env = append(commands(t, map[string]string{
				"dpkg":    "echo " + test.architecture + "\n",
				"python3": "printf '%s\\n' \"$@\"\n",
			}), "HOME=/nowhere")
			out, err := cmd.CombinedOutput()
			if test.want == "" {
				if err == nil || !strings.Contains(string(out), "sum: parameter not set") {
					t.Errorf("got %v, %q", err, out)
				}
				return
			}
			if want := "-\n" + test.want + "\n/tmp/file\n" + wanted + "\n"; err != nil || string(out) != want {
				t.Errorf("got %v, %q; want %q", err, out, want)
			}
		})
	}
}

func TestFetchHoldsAgainstTheChecksum(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	const content = "a package"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }))
	defer server.Close()
	sum, other := strings.TrimPrefix(digest(content), "sha256:"), strings.Repeat("0", 64)
	for name, test := range map[string]struct{ wanted, error, file string }{
		"that very file": {sum, "", content},
		"another":        {other, "download " + server.URL + "/a.deb: its SHA-256 checksum is " + sum + ", not " + other, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			cmd := exec.CommandContext(t.Context(), "dash", "-euc", fetch(release.Download{URL: server.URL + "/a.deb", SHA256: map[string]string{"": test.wanted}}, file))
			cmd.Env = commands(t, map[string]string{"dpkg": "echo amd64\n"})
			out, err := cmd.CombinedOutput()
			if (err == nil) != (test.error == "") || strings.TrimSpace(string(out)) != test.error {
				t.Errorf("got %v, %q; want %q", err, out, test.error)
			}
			if got, _ := os.ReadFile(file); string(got) != test.file {
				t.Errorf("the file has %q, want %q", got, test.file)
			}
		})
	}
}

// commands makes a folder with commands of the test's own, to be looked into
// first, and returns the environment for it.
func commands(t *testing.T, scripts map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"PATH=" + dir + ":" + searchPath}
}
