package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// changeApp adds a line to a file of an app, on a new branch.
func (u *user) changeApp(owner, app, ref, branch, file, line string) {
	u.t.Helper()
	commitLine(u.t, filepath.Join(u.world.Dir, "repositories", owner, app+".git"), ref, branch, file, line)
}

// commitLine adds a line to a file of a bare repository, on a new branch.
func commitLine(t *testing.T, bare, ref, branch, file, line string) {
	t.Helper()
	commitChange(t, bare, ref, branch, func(work string) error {
		to, err := os.OpenFile(filepath.Join(work, file), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(to, line)
		return errors.Join(err, to.Close())
	})
}

// commitChange changes the files of a bare repository, on a new branch.
func commitChange(t *testing.T, bare, ref, branch string, change func(work string) error) {
	t.Helper()
	work := t.TempDir()
	git(t, "clone", "--quiet", "--branch", ref, bare, work)
	if err := change(work); err != nil {
		t.Fatal(err)
	}
	commitAll(t, work, "Change "+branch)
	git(t, "-C", work, "push", "--quiet", bare, "HEAD:refs/heads/"+branch)
}

// commitAll commits everything in a folder.
func commitAll(t *testing.T, work, message string) {
	t.Helper()
	git(t, "-C", work, "add", "--all")
	git(t, "-C", work, "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", message)
}

func git(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}
