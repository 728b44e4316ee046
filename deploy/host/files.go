package host

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// File is a file of a folder to upload.
type File struct {
	// Name is its path within the folder, with slashes.
	Name string
	// Mode has its permission bits.
	Mode fs.FileMode
	// Data is its content.
	Data []byte
}

// treeEnd is the last file of an archive: where it is, all of it arrived.
const treeEnd = ".upload-complete"

// UploadTree makes a folder on the host. It appears with all of its files, or
// not at all. Folders are for the user alone, files as their modes say; the
// parents of the folder are made where they are missing. A folder that is
// there already is left alone, and the error is [ErrExists].
//
// The error is ErrOutcomeUnknown where the connection broke; then do it again
// and take ErrExists for success if no one else makes this folder.
func (h *Host) UploadTree(ctx context.Context, dir string, files []File) error {
	archive, err := tarball(files)
	if err != nil {
		return fmt.Errorf("upload %s: %w", dir, err)
	}
	temporary := temporaryName(dir)
	_, err = h.Run(ctx, script(receiveTreeScript, temporary, dir), Options{Stdin: bytes.NewReader(archive)})
	if err == nil {
		return nil
	}
	h.discard(ctx, temporary)
	switch exitOf(err) {
	case exitExists:
		err = ErrExists
	case exitTorn:
		err = errors.New("only a part arrived")
	}
	return fmt.Errorf("upload %s: %w", dir, err)
}

func tarball(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range append(files[:len(files):len(files)], File{Name: treeEnd, Mode: 0o600}) {
		if !fs.ValidPath(f.Name) || f.Name == "." {
			return nil, fmt.Errorf("%q is no path within a folder", f.Name)
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), ModTime: time.Now()}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Name, err)
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// discard removes what an upload left, also when the caller's time is up, but
// not at length: it is rubbish with a name that says so.
func (h *Host) discard(ctx context.Context, temporary string) {
	if h.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if _, err := h.Run(ctx, []string{"rm", "-rf", "--", temporary}, Options{}); err != nil {
		h.log.Debug().Err(err).Str("path", temporary).Msg("part of an upload is left on the host")
	}
}

// temporaryName returns a name in the same folder, thus on the same file system,
// that nothing else has.
func temporaryName(name string) string {
	dir, base := path.Split(path.Clean(name))
	return dir + "." + base + "." + rand.Text()[:10] + ".part"
}

// exitOf returns the exit code of a command that ended, 0 for anything else.
func exitOf(err error) int {
	var run *RunError
	if errors.As(err, &run) && run.Signal == "" {
		return run.Exit
	}
	return 0
}

// lastLine returns the last line: it skips what a login shell's start-up files may have printed.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
