package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) rebuilt(t *testing.T) {
	lock, archive := filepath.Join(u.world.Dir, "lock.json"), filepath.Join(u.world.Dir, "image.tar")
	u.must(u.command("build", "1.0.0", apps.Version1(), "--lock", lock)...)
	first, list := u.record("1.0.0").Image.Digest, filepath.Join(u.world.Dir, "apps-1.0.0.json")
	code, _, errs := u.run("rebuild", "--lock", lock, "--output", archive, "--apps", list)
	if code != 0 || !strings.Contains(errs, first) {
		t.Errorf("exit %d, want %s in\n%s", code, first, errs)
	}
	if index := archived(t, archive); !strings.Contains(index, first) {
		t.Errorf("the archive has %s, want %s", index, first)
	}
	// From the record on the host, and under its version, which names it.
	code, out, errs := u.run("rebuild", "1.0.0", "--apps", list)
	if code != 0 || !strings.Contains(out, first) || !strings.Contains(errs, "it is the image that the version names") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
}

// archived returns the index of an OCI archive.
func archived(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "tar", "--extract", "--to-stdout", "--file", path, "index.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
