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
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Exit codes by which the scripts of this package tell what a person would
// read out of a message. They are above those of the tools used.
const (
	exitMissing = 44
	exitExists  = 45
	exitTorn    = 46
)

// Every script here is given to "sh -c" with its arguments, so nothing is
// pasted into it.

// receiveFile writes standard input to the new file $1 with mode $2 and prints
// its size. It does not give the file its final name: when the connection
// breaks, cat sees an end of input like any other. Nobody reads the size
// then, so wc fails and the file goes.
const receiveFile = `umask 077
mkdir -p -- "$(dirname -- "$1")" && cat >"$1" && chmod -- "$2" "$1" && { sync -- "$1" || :; } && wc -c <"$1" ||
{ code=$?; rm -f -- "$1"; exit "$code"; }`

// renameFile puts $1 in the place of $2.
const renameFile = `mv -fT -- "$1" "$2" && { sync -- "$(dirname -- "$2")" || :; }`

// Upload puts a file on the host, in place of the one that may be there. Under
// its name there is the old content or all of the new, never a part: the
// content goes to a temporary file beside it, its size is compared, and then
// it is renamed. The content is seen in no argument list, and at no time by
// others than the mode (permission bits) allows. Missing folders are made, for
// the user alone.
//
// The error is ErrOutcomeUnknown where the connection broke; doing it again is
// safe.
func (h *Host) Upload(ctx context.Context, name string, mode fs.FileMode, content io.Reader) error {
	temporary := temporaryName(name)
	counted := &countingReader{r: content}
	result, err := h.Run(ctx, script(receiveFile, temporary, fmt.Sprintf("%04o", mode.Perm())), Options{Stdin: counted})
	if err == nil {
		var size int64
		size, err = strconv.ParseInt(lastLine(result.Stdout), 10, 64)
		if sent := counted.n.Load(); err == nil && size != sent {
			err = fmt.Errorf("%d of %d bytes arrived", size, sent)
		}
	}
	if err == nil {
		_, err = h.Run(ctx, script(renameFile, temporary, name), Options{})
	}
	if err != nil {
		h.discard(ctx, temporary)
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

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

// receiveTree unpacks the archive on standard input to the new folder $1 and
// renames it to $2, which must not be there. mv -T is a rename(2): it refuses
// a folder with something in it.
const receiveTree = `umask 077
[ ! -e "$2" ] || exit 45
trap 'rm -rf -- "$1"' EXIT
mkdir -p -- "$1" && tar -C "$1" -xpof - || exit
[ -f "$1/.upload-complete" ] || exit 46
rm -- "$1/.upload-complete" && { sync -- "$1" || :; }
mv -T -- "$1" "$2" || { [ ! -e "$2" ] || exit 45; exit 1; }
sync -- "$(dirname -- "$2")" || :`

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
	_, err = h.Run(ctx, script(receiveTree, temporary, dir), Options{Stdin: bytes.NewReader(archive)})
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

// sendFile writes the file $1 to standard output.
const sendFile = `[ -e "$1" ] || exit 44
exec cat -- "$1"`

// Download writes a file of the host to w and gives the number of bytes. A
// nil error means that all of it was written. A file that is not there is
// fs.ErrNotExist.
func (h *Host) Download(ctx context.Context, name string, w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	_, err := h.Run(ctx, script(sendFile, name), Options{Stdout: counted})
	if exitOf(err) == exitMissing {
		err = fs.ErrNotExist
	}
	if err != nil {
		return counted.n, fmt.Errorf("download %s: %w", name, err)
	}
	return counted.n, nil
}

// ReadFile gives the content of a file of the host, see [Host.Download].
func (h *Host) ReadFile(ctx context.Context, name string) ([]byte, error) {
	var b bytes.Buffer
	_, err := h.Download(ctx, name, &b)
	if err != nil {
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

// script is the argument vector for a script and its arguments.
func script(text string, args ...string) []string {
	return append([]string{"sh", "-c", text, "sh"}, args...)
}

// temporaryName is a name in the same folder, thus on the same file system,
// that nobody else has.
func temporaryName(name string) string {
	dir, base := path.Split(path.Clean(name))
	return dir + "." + base + "." + rand.Text()[:10] + ".part"
}

// exitOf gives the exit code of a command that ended, 0 for anything else.
func exitOf(err error) int {
	var run *RunError
	if errors.As(err, &run) && run.Signal == "" {
		return run.Exit
	}
	return 0
}

// lastLine skips what a login shell's start-up files may have printed.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
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
