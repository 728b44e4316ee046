package localengine

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestMakeRoom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an engine runs on Linux only")
	}
	e := &Engine{dir: t.TempDir()}
	file := filepath.Join(e.dir, "state", "snapshots", "content")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte{1}, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		most  int64
		empty bool
	}{{4 << 20, false}, {1 << 20, true}, {1 << 20, false}} {
		empty, err := e.makeRoom(t.Context(), c.most)
		if err != nil || empty != c.empty {
			t.Errorf("with room for %d bytes: emptied %v, %v", c.most, empty, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(e.dir, "state"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
