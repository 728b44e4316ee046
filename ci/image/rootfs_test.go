package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

func TestScriptsPassShellcheck(t *testing.T) {
	scripts, err := filepath.Glob("rootfs/usr/local/bin/*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatalf("found %v, %v", scripts, err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(script), func(t *testing.T) { debiantest.Shellcheck(t, string(text)) })
	}
}

// entrypoint runs the entrypoint against a bench below dir.
func entrypoint(ctx context.Context, dir string, command ...string) (string, error) {
	text, err := os.ReadFile("rootfs/usr/local/bin/entrypoint.sh")
	if err != nil {
		return "", err
	}
	moved := strings.ReplaceAll(string(text), benchDir, dir)
	out, err := exec.CommandContext(ctx, "sh", append([]string{"-c", moved, "entrypoint.sh"}, command...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return string(out), nil
}

// benchWithAssets makes a bench whose assets hold one file.
func benchWithAssets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"assets", "sites"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "assets", "assets.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEntrypointLinksAssets(t *testing.T) {
	for name, prepare := range map[string]func(linked string) error{
		"an empty volume":                   func(string) error { return nil },
		"a link of the image before":        func(linked string) error { return os.Symlink("/nowhere", linked) },
		"a folder that an older image kept": func(linked string) error { return os.MkdirAll(filepath.Join(linked, "frappe"), 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := benchWithAssets(t)
			linked := filepath.Join(dir, "sites", "assets")
			if err := prepare(linked); err != nil {
				t.Fatal(err)
			}
			out, err := entrypoint(t.Context(), dir, "echo", "the command ran")
			if err != nil {
				t.Fatal(err)
			}
			if out != "the command ran\n" {
				t.Errorf("printed %q", out)
			}
			if target, err := os.Readlink(linked); err != nil || target != filepath.Join(dir, "assets") {
				t.Errorf("sites/assets links to %q, %v", target, err)
			}
			left, _ := os.ReadDir(filepath.Join(dir, "sites"))
			if len(left) != 1 {
				t.Errorf("left in sites: %v", left)
			}
		})
	}
}

// Containers of one release start at once on one volume: each of them sees
// the old assets or the new ones, never none.
func TestEntrypointsAtOnce(t *testing.T) {
	dir := benchWithAssets(t)
	linked := filepath.Join(dir, "sites", "assets")
	if err := os.Symlink(filepath.Join(dir, "assets", "."), linked); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := entrypoint(t.Context(), dir, "cat", filepath.Join(linked, "assets.json")); err != nil {
				t.Error(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for {
		if _, err := os.Stat(filepath.Join(linked, "assets.json")); err != nil {
			t.Fatalf("assets were absent: %v", err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
