package image

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

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

// moved runs a part of a stage's script against files below dir.
func moved(t *testing.T, dir, script string, environ ...string) string {
	t.Helper()
	for _, root := range []string{"/run/trust-extra", "/run/trust/", "/etc/ssl/", "/etc/apt/"} {
		script = strings.ReplaceAll(script, root, dir+root)
	}
	cmd := exec.CommandContext(t.Context(), "dash", "-euc", script)
	cmd.Dir, cmd.Env = dir, append([]string{"PATH=" + searchPath}, environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// below writes files below a folder.
func below(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConflict(t *testing.T) {
	list := []app{
		{App: release.App{Name: "frappe", Ref: "v15.17.3"}, project: "dependencies = [\"redis~=4.5.5\"]\n"},
		{App: release.App{Name: "wiki", Ref: "v2.0.1"}, legacy: "redis==3.5.3\n"},
	}
	exec := &dagger.ExecError{ExitCode: 1, Stderr: "warning: x\n  × No solution found when resolving dependencies:\n  ╰─▶ Because you require redis>=4.5.5\n      and redis==3.5.3, your\n  │   requirements are unsatisfiable.\n"}
	err := conflict(fmt.Errorf("build packages: %w", withOutput(exec)), list)
	var report *problem.Error
	if !errors.As(err, &report) || len(report.Report) != 1 {
		t.Fatalf("got %v", err)
	}
	want := "Python packages: No solution found when resolving dependencies: Because you require redis>=4.5.5 and redis==3.5.3, your requirements are unsatisfiable.\n" +
		"frappe v15.17.3 wants redis~=4.5.5, wiki v2.0.1 wants redis==3.5.3"
	if p := report.Report[0]; p.Error() != want || p.Code != "image.packages-conflict" || !strings.HasPrefix(p.Remedy, "choose refs in apps.json") {
		t.Errorf("got %s: %s\nfix %s\nwant %s", p.Code, p, p.Remedy, want)
	}
	other := &dagger.ExecError{ExitCode: 2, Stderr: "error: no network\n"}
	err = conflict(fmt.Errorf("build packages: %w", withOutput(other)), list)
	if errors.As(err, &report) || !errors.Is(err, other) || message(err) != "resolve Python packages: build packages: exit 2\nerror: no network" {
		t.Errorf("another failure: %v", err)
	}
}

func TestMoves(t *testing.T) {
	lock := func(pins ...string) string {
		return strings.Join(pins, " \\\n    --hash=sha256:aa\n") + " \\\n    --hash=sha256:aa\n"
	}
	for name, test := range map[string]struct {
		before, after string
		want          []Move
		error         string
	}{
		"none":                  {lock("a==1", "b==2"), lock("a==1", "b==2"), nil, ""},
		"by name":               {lock("b==1", "a==1", "gone==1"), lock("new==1", "a==2", "b==3"), []Move{{"a", "1", "2"}, {"b", "1", "3"}, {"gone", "1", ""}, {"new", "", "1"}}, ""},
		"the first":             {"", lock("a==1"), []Move{{"a", "", "1"}}, ""},
		"a lock that is none":   {lock("a==1"), "a>=1\n", nil, `resolved packages, line 1: "a>=1" is neither a pinned package nor a hash`},
		"one before that isn't": {"a>=1\n", lock("a==1"), nil, `resolved packages, line 1: "a>=1" is neither a pinned package nor a hash`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Moves(test.before, test.after)
			if message(err) != test.error || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %q; want %+v, %q", got, message(err), test.want, test.error)
			}
		})
	}
}

func TestFromMirror(t *testing.T) {
	const lock = "a@1:\n  resolved \"https://registry.yarnpkg.com/a/-/a-1.tgz#00ff\"\nb@1:\n  resolved https://registry.npmjs.org/@x/b/-/b-1.tgz\nc@1:\n  resolved \"https://codeload.github.com/x/c/tar.gz/00ff\"\n"
	for name, test := range map[string]struct{ mirror, want string }{
		"none":    {"", lock},
		"a path":  {"https://npm.example.com/all/", strings.NewReplacer("https://registry.yarnpkg.com", "https://npm.example.com/all", "https://registry.npmjs.org", "https://npm.example.com/all").Replace(lock)},
		"special": {`https://npm.example.com/a&b#c\d`, strings.NewReplacer("https://registry.yarnpkg.com", `https://npm.example.com/a&b#c\d`, "https://registry.npmjs.org", `https://npm.example.com/a&b#c\d`).Replace(lock)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			below(t, dir, map[string]string{"yarn.lock": lock, "frontend/yarn.lock": lock})
			moved(t, dir, prelude+fromMirror, "NPM_MIRROR="+test.mirror)
			for _, at := range []string{"yarn.lock", "frontend/yarn.lock"} {
				if got, err := os.ReadFile(filepath.Join(dir, at)); err != nil || string(got) != test.want {
					t.Errorf("%s has\n%s, %v\nwant\n%s", at, got, err, test.want)
				}
			}
		})
	}
}

// Debian's own lists come in two formats; only those of Debian's archive move.
func TestPreludeMovesPackageLists(t *testing.T) {
	dir := t.TempDir()
	below(t, dir, map[string]string{
		"run/trust/keep": "", "run/trust-extra": "extra\n", "etc/ssl/certs/ca-certificates.crt": "public\n",
		"etc/apt/sources.list":                   "# old\ndeb http://deb.debian.org/debian bookworm main\n",
		"etc/apt/sources.list.d/debian.sources":  "Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security other\nComponents: main\n",
		"etc/apt/sources.list.d/nodesource.list": "deb https://deb.nodesource.com/node bookworm main\n",
	})
	out := moved(t, dir, prelude+"\necho \"$APT_OPTIONS\"\necho \"$PIP_INDEX_URL\"\ncat \"$SSL_CERT_FILE\"\n",
		"APT_MIRROR=https://u:p&w@apt.example.com/", "UV_DEFAULT_INDEX=https://pypi.example.com/simple")
	list := filepath.Join(dir, "run/trust/sources.list")
	want := "deb https://u:p&w@apt.example.com/debian bookworm main\n" +
		"deb https://deb.nodesource.com/node bookworm main\n" +
		"deb https://u:p&w@apt.example.com/debian-security bookworm-security main\n" +
		"deb https://u:p&w@apt.example.com/debian-security other main\n"
	if got, err := os.ReadFile(list); err != nil || string(got) != want {
		t.Errorf("the list is\n%s, %v\nwant\n%s", got, err, want)
	}
	for _, want := range []string{"Dir::Etc::sourcelist=" + list, "Dir::Etc::sourceparts=/dev/null", "CAInfo=" + dir + "/run/trust/bundle.crt", "\nhttps://pypi.example.com/simple\n", "public\nextra\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
