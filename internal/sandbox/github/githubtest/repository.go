// Package githubtest makes the repositories that tests serve with the GitHub
// stand-in.
package githubtest

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
)

// Start runs a stand-in for one test. It skips a test in short mode, and where
// git is absent and can't be installed, except in CI.
func Start(t testing.TB, opts github.Options) *github.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs git")
	}
	server, err := github.Start(context.Background(), opts)
	debiantest.Require(t, err)
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Repository is a bare repository that a test writes to.
type Repository struct {
	t   testing.TB
	dir string
	// clock is the committer's date of the next commit.
	clock time.Time
}

// New makes an empty repository ROOT/OWNER/REPO.git, whose name is OWNER/REPO,
// with main as its default branch.
func New(t testing.TB, root, name string) *Repository {
	t.Helper()
	r := &Repository{t: t, dir: filepath.Join(root, name+".git"), clock: time.Date(2024, 3, 12, 10, 0, 0, 0, time.FixedZone("", 5*3600+1800))}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("", "init", "--quiet", "--bare", "--initial-branch=main")
	return r
}

// Commit puts one file into a new commit on a branch, which it makes if there
// is none, and returns the commit's SHA. Each commit is a minute after the last.
func (r *Repository) Commit(branch, file, text string) string {
	r.t.Helper()
	return r.CommitEntries(branch, Entry{Path: file, Text: text})
}

// Entry is a file, a link or a submodule in a commit.
type Entry struct {
	// Path is slash separated, from the repository's root.
	Path string
	// Mode is git's: "100644", which is also meant by an empty one,
	// "100755", "120000" for a link or "160000" for a submodule.
	Mode string
	// Text is the content, the target of a link, or the commit's SHA of a
	// submodule.
	Text string
}

// CommitEntries is Commit for several entries, of any mode.
func (r *Repository) CommitEntries(branch string, entries ...Entry) string {
	r.t.Helper()
	r.clock = r.clock.Add(time.Minute)
	var parent string
	if exec.Command("git", "--git-dir", r.dir, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch).Run() == nil {
		parent = "from refs/heads/" + branch + "^0\n"
	}
	stamp := fmt.Sprintf("%d +0530", r.clock.Unix())
	message := "Change " + entries[0].Path
	var commands strings.Builder
	fmt.Fprintf(&commands, "commit refs/heads/%s\nauthor A. Author <author@example.com> %s\ncommitter C. Committer <committer@example.com> %s\ndata %d\n%s\n%s",
		branch, stamp, stamp, len(message), message, parent)
	for _, e := range entries {
		if e.Mode == "160000" {
			fmt.Fprintf(&commands, "M 160000 %s %s\n", e.Text, e.Path)
			continue
		}
		fmt.Fprintf(&commands, "M %s inline %s\ndata %d\n%s\n", cmp.Or(e.Mode, "100644"), e.Path, len(e.Text), e.Text)
	}
	r.git(commands.String(), "fast-import", "--quiet")
	return r.git("", "rev-parse", "refs/heads/"+branch)
}

// CommittedAt is the date of the last commit.
func (r *Repository) CommittedAt() time.Time { return r.clock }

// Tag makes lightweight tags on a commit.
func (r *Repository) Tag(sha string, names ...string) {
	r.t.Helper()
	var commands strings.Builder
	for _, name := range names {
		fmt.Fprintf(&commands, "create refs/tags/%s %s\n", name, sha)
	}
	r.git(commands.String(), "update-ref", "--stdin")
}

// AnnotatedTag makes a tag with an object of its own and returns that object's
// SHA.
func (r *Repository) AnnotatedTag(sha, name string) string {
	r.t.Helper()
	r.git("", "tag", "--annotate", "--message", "Release "+name, name, sha)
	return r.git("", "rev-parse", "refs/tags/"+name)
}

func (r *Repository) git(stdin string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", append([]string{"--git-dir", r.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_COMMITTER_NAME=C. Committer", "GIT_COMMITTER_EMAIL=committer@example.com")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
