//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

func TestUpload(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		for _, test := range []struct {
			name    string
			file    string
			mode    fs.FileMode
			content string
		}{
			{"secret file", ".env", 0o600, "A=b\n"},
			{"program", "runner", 0o755, "#!/bin/sh\n"},
			{"empty", "empty", 0o644, ""},
			{"odd name, any bytes", "-it's $HOME\n☃", 0o640, "\x00\xff'\n"},
			{"in folders that are not there", "a/b/c", 0o600, "x"},
			{"big", "big", 0o600, strings.Repeat("0123456789abcdef", 1<<18)},
		} {
			t.Run(test.name, func(t *testing.T) {
				dir := t.TempDir()
				name := filepath.Join(dir, test.file)
				for range 2 { // the second time in place of the first
					if err := h.Upload(t.Context(), name, test.mode, strings.NewReader(test.content)); err != nil {
						t.Fatal(err)
					}
					info, err := os.Stat(name)
					if err != nil {
						t.Fatal(err)
					}
					if info.Mode() != test.mode {
						t.Errorf("mode is %v, want %v", info.Mode(), test.mode)
					}
					got, err := h.ReadFile(t.Context(), name)
					if err != nil || string(got) != test.content {
						t.Errorf("read back %d bytes, %v, want %d", len(got), err, len(test.content))
					}
				}
				if got := names(t, filepath.Dir(name)); got != filepath.Base(test.file) {
					t.Errorf("the folder has %q", got)
				}
			})
		}
	})
}

// TestUploadIsWholeOrNot looks at the host while an upload is under way and
// after it broke.
func TestUploadIsWholeOrNot(t *testing.T) {
	s := realSSHD(t)
	broken := errors.New("cable")
	for _, test := range []struct {
		name string
		stop func(t *testing.T, n *network, w *io.PipeWriter, cancel func())
		want error
	}{
		{"source fails", func(_ *testing.T, _ *network, w *io.PipeWriter, _ func()) { _ = w.CloseWithError(broken) }, broken},
		{"cancelled", func(_ *testing.T, _ *network, _ *io.PipeWriter, cancel func()) { cancel() }, context.Canceled},
		{"connection reset", func(_ *testing.T, n *network, _ *io.PipeWriter, _ func()) { n.reset() }, ErrOutcomeUnknown},
		{"sshd killed", func(t *testing.T, _ *network, _ *io.PipeWriter, _ func()) { s.killSessions(t) }, ErrOutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t, s.address)
			h := dial(t, s.through(n))
			dir := t.TempDir()
			name := filepath.Join(dir, "release.json")
			if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, w := io.Pipe()
			ended := make(chan error, 1)
			go func() { ended <- h.Upload(ctx, name, 0o644, r) }()
			_, _ = w.Write(bytes.Repeat([]byte("new"), 20000))
			var part fs.FileInfo
			eventually(t, "a part arrived", func() bool {
				parts, _ := filepath.Glob(filepath.Join(dir, ".release.json.*.part"))
				if len(parts) != 1 {
					return false
				}
				var err error
				part, err = os.Stat(parts[0])
				return err == nil && part.Size() == 60000
			})
			if part.Mode() != 0o600 {
				t.Errorf("under way the file has mode %v", part.Mode())
			}
			test.stop(t, n, w, cancel)
			select {
			case err := <-ended:
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the upload does not end")
			}
			_ = w.Close()
			eventually(t, "nothing but the old file is there", func() bool { return names(t, dir) == "release.json" })
			if got, _ := os.ReadFile(name); string(got) != "old" {
				t.Errorf("the file has %d bytes of the new content", len(got))
			}
		})
	}
}

func TestUploadErrors(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "folder", "full"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct{ name, file string }{
			{"a file in the place of the folder", "file/x"},
			{"a folder in the place of the file", "folder"},
		} {
			t.Run(test.name, func(t *testing.T) {
				err := h.Upload(t.Context(), filepath.Join(dir, test.file), 0o600, strings.NewReader("x"))
				var failed *RunError
				if !errors.As(err, &failed) || failed.Stderr == "" {
					t.Errorf("got %v, want the host's words", err)
				}
				if got := names(t, dir); got != "file folder" {
					t.Errorf("the folder has %q", got)
				}
			})
		}
	})
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
		_, err := h.Run(t.Context(), script(receiveTree, root+"/part", root+"/whole"), Options{Stdin: bytes.NewReader(archive[:length])})
		if err == nil {
			t.Errorf("%d of %d bytes were taken for all", length, len(archive))
		}
		if got := names(t, root); got != "" {
			t.Errorf("%d bytes left %q", length, got)
		}
	}
	if _, err := h.Run(t.Context(), script(receiveTree, root+"/part", root+"/whole"), Options{Stdin: bytes.NewReader(archive)}); err != nil {
		t.Errorf("the whole archive: %v", err)
	}
}

func TestDownload(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		if _, err := h.ReadFile(t.Context(), "/nonexistent/file"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want fs.ErrNotExist", err)
		}
		if _, err := h.ReadFile(t.Context(), "/"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "download /: ") {
			t.Errorf("a folder: %v", err)
		}
		broken := errors.New("disk is full")
		if _, err := h.Download(t.Context(), "/bin/sh", failingWriter{broken}); !errors.Is(err, broken) {
			t.Errorf("got %v, want %v", err, broken)
		}
	})
}
