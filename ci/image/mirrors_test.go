package image

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

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
