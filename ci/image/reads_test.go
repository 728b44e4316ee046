package image

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
)

func TestReadsMetadata(t *testing.T) {
	for path, want := range map[string]bool{
		"setup.py": true, "app/VERSION": true, "app/config/version.py": true, "app/public.py": true, "requirements/run.txt": true, "app/public": true,
		"app/public/js/a.js": false, "node_modules/a/setup.py": false, "app/node_modules/a.py": false, ".github/workflows/ci.yml": false, "app/x/public/a": true,
	} {
		if got := readsMetadata(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, test := range []struct {
		path, folder string
		want         bool
	}{
		{"web", "web", true}, {"web/src", "web", true}, {"website", "web", false}, {"web", "web/src", false},
		{"web", ".", true}, {"..web/src", ".", true}, {".", ".", true}, {"..", ".", false}, {"../web", ".", false},
	} {
		if got := within(test.path, test.folder); got != test.want {
			t.Errorf("%s in %s: %v", test.path, test.folder, got)
		}
	}
	// All of an app may be copied among the modules of its front end.
	a := surveyed(t, map[string]string{"package.json": "{}", "web/package.json": `{"dependencies": {"acme": "file:.."}}`, "web/yarn.lock": ""})
	if !a.readsInstall("acme/main.js") {
		t.Error("what is copied from the root is not read")
	}
}

// A token is there only where something of its owner is fetched.
func TestOpens(t *testing.T) {
	const app = "https://github.com/acme/app"
	for _, test := range []struct {
		app, addresses string
		want           bool
	}{
		{"https://gitlab.com/acme/erp/app", "git+https://gitlab.com/acme/erp/lib", true},
		{"https://gitlab.com/acme/erp/app", "git+https://gitlab.com/acme/lib", false},
		{"https://git.example.com/app", "git+https://git.example.com/lib", false},
		{"https://git.example.com/app", "https://git.example.com/app/", true},
		{"https://git.example.com/app", "git+https://git.example.com/app.git@v1", true},
		{"https://git.example.com/app", "https://git.example.com/apple", false},
		{"https://git.example.com/acme/app", "https://mygit.example.com/acme/lib", false},
		{"https://git.example.com/acme/app", "https://evil.example/git.example.com/acme/lib", false},
		{"https://git.example.com/acme/app", "https://me@git.example.com/acme/lib", true},
		{"ssh://git@example.com/acme/app", "lib @ git+ssh://git@example.com/acme/lib", true},
		{"ssh://git@example.com:2222/acme/app", "git@example.com:acme/lib", true},
		{"ssh://git@example.com/acme/app", "git@example.com:other/lib", false},
	} {
		if got := opens(test.app, test.addresses); got != test.want {
			t.Errorf("%s, %s: %v", test.app, test.addresses, got)
		}
	}
	for addresses, want := range map[string]bool{
		"gunicorn @ git+https://github.com/frappe/gunicorn@abc": false,
		"lib @ git+https://github.com/Acme/lib@abc":             true,
		"lib @ git+https://github.com/acme2/lib@abc":            false,
		"lib @ git+ssh://git@github.com/acme/lib":               true,
		"lib @ git+https://example.com/acme/lib":                false,
		app + "/":                                               true,
		"":                                                      false,
	} {
		if got := opens(app, addresses); got != want {
			t.Errorf("%s: %v", addresses, got)
		}
	}
}

// TestFetchScript runs the step's script: where the repository that it keeps is
// damaged, it is made anew.
func TestFetchScript(t *testing.T) {
	debiantest.Install(t, "git")
	dir := t.TempDir()
	repository := githubtest.New(t, dir, "acme/app")
	origin := filepath.Join(dir, "acme", "app.git")
	var commits []string
	for _, text := range []string{"one", "two"} {
		commits = append(commits, repository.CommitEntries("main", githubtest.Entry{Path: "file", Text: text},
			githubtest.Entry{Path: "ui", Mode: "160000", Text: strings.Repeat("ab", 20)}))
	}
	if out, err := exec.Command("git", "--git-dir", origin, "config", "uploadpack.allowAnySHA1InWant", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	home, trust, source := filepath.Join(dir, "home"), filepath.Join(dir, "trust"), filepath.Join(dir, "source")
	if err := errors.Join(os.Mkdir(home, 0o755), os.Mkdir(trust, 0o755)); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("/run/trust", trust, sourceDir, source).Replace(fetchScript)
	run := func(what, commit, want string) {
		t.Helper()
		cmd := exec.Command("sh", "-euc", script)
		cmd.Env = append(os.Environ(), "HOME="+home, "REPOSITORY=file://"+origin, "COMMIT="+commit, "GIT_TOKENS=", "GIT_INSTEAD=", "GIT_SSH_HOSTS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		text, err := os.ReadFile(filepath.Join(source, "file"))
		if left, _ := os.ReadDir(filepath.Join(source, "ui")); err != nil || string(text) != want || len(left) > 0 {
			t.Errorf("%s: %q, %v", what, text, err)
		}
		if _, err := os.Stat(filepath.Join(source, ".git")); err == nil {
			t.Errorf("%s: the repository is in the source", what)
		}
	}
	run("first", commits[0], "one")
	run("the next commit", commits[1], "two")
	run("the same again", commits[1], "two")
	run("back", commits[0], "one")
	kept := filepath.Join(home, "repository")
	for what, damage := range map[string]string{
		"a lock is left":   "touch shallow.lock refs/kept.lock",
		"an empty ref":     ": >refs/kept",
		"an empty object":  "find objects -type f -size -2 -exec sh -c 'chmod u+w \"$1\"; : >\"$1\"' sh {} \\;",
		"nothing is whole": "rm -rf objects",
	} {
		if out, err := exec.Command("sh", "-euc", "cd \"$1\"\n"+damage, "sh", kept).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		run(what, commits[1], "two")
	}
}
