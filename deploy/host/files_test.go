//go:build unix

package host

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// names lists what is in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestUploadTree(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		root := t.TempDir()
		dir := filepath.Join(root, "releases", "v1")
		long := strings.Repeat("long/", 60) + "name"
		files := []File{
			{Name: "compose.yaml", Mode: 0o644, Data: []byte("services: {}\n")},
			{Name: ".env", Mode: 0o600, Data: []byte("A=b\n")},
			{Name: "steps/30-backup.do", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
			{Name: long, Mode: 0o600, Data: []byte("deep")},
		}
		if err := h.UploadTree(t.Context(), dir, files); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := filepath.Join(dir, f.Name)
			got, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			info, _ := os.Stat(name)
			if !bytes.Equal(got, f.Data) || info.Mode() != f.Mode {
				t.Errorf("%s is %q with %v", f.Name, got, info.Mode())
			}
		}
		if got := names(t, dir); got != ".env compose.yaml long steps" {
			t.Errorf("the folder has %q", got)
		}
		info, _ := os.Stat(dir)
		if info.Mode().Perm() != 0o700 {
			t.Errorf("the folder has mode %v", info.Mode())
		}
		err := h.UploadTree(t.Context(), dir, []File{{Name: "other", Mode: 0o600}})
		if !errors.Is(err, ErrExists) {
			t.Errorf("a second time: %v, want ErrExists", err)
		}
		if got := names(t, dir) + "|" + names(t, filepath.Dir(dir)); got != ".env compose.yaml long steps|v1" {
			t.Errorf("afterwards there is %q", got)
		}
		for _, name := range []string{"../x", "/x", "", "."} {
			if err := h.UploadTree(t.Context(), filepath.Join(root, "v2"), []File{{Name: name}}); err == nil {
				t.Errorf("a file named %q was taken", name)
			}
		}
	})
}

// TestTornArchive gives the receiver every kind of beginning of an archive.
func TestTornArchive(t *testing.T) {
	h := inProcess(t).dial(t)
	archive, err := tarball([]File{{Name: "a", Mode: 0o600, Data: []byte("x")}, {Name: "b", Mode: 0o600, Data: make([]byte, 2000)}})
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, length := range []int{0, 100, 512, 1024, 1536, 2000, 3584} {
		_, err := h.Run(t.Context(), script(receiveTreeScript, root+"/part", root+"/whole"), Options{Stdin: bytes.NewReader(archive[:length])})
		if err == nil {
			t.Errorf("%d of %d bytes were taken for all", length, len(archive))
		}
		if got := names(t, root); got != "" {
			t.Errorf("%d bytes left %q", length, got)
		}
	}
	if _, err := h.Run(t.Context(), script(receiveTreeScript, root+"/part", root+"/whole"), Options{Stdin: bytes.NewReader(archive)}); err != nil {
		t.Errorf("the whole archive: %v", err)
	}
}
