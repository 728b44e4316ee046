// Package emulation has this machine's kernel run programs for other
// processors, with QEMU: those in containers as well, so that an engine builds
// images for platforms other than its own.
//
// The sandbox does for a while what users have their machine do for good, with
//
//	docker run --privileged --rm tonistiigi/binfmt --install arm64
//
// or, on Debian with systemd, apt-get install qemu-user-static, or in GitHub
// Actions docker/setup-qemu-action.
package emulation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// processors are QEMU's names of Go's architectures.
var processors = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// Enable has the kernel run programs of an architecture, by Go's name, until
// undo is called. Where the kernel runs them already it changes nothing. Where
// that can't be done the error is debian.ErrUnsupported: it takes Debian and
// root.
func Enable(ctx context.Context, architecture string) (undo func() error, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("emulate %s: %w", architecture, err)
		}
	}()
	if architecture == runtime.GOARCH {
		return func() error { return nil }, nil
	}
	processor, found := processors[architecture]
	if !found {
		return nil, errors.New("no image is for it")
	}
	if os.Geteuid() != 0 {
		return nil, debian.ErrUnsupported
	}
	if err := debian.Install(ctx, "qemu-user-static"); err != nil {
		return nil, err
	}
	h, err := readHandler("/usr/lib/binfmt.d/qemu-" + processor + ".conf")
	if err != nil {
		return nil, err
	}
	kernel, err := openKernel()
	if err != nil {
		return nil, err
	}
	switch there, err := h.isIn(kernel); {
	case err != nil:
		return nil, errors.Join(err, kernel.Close())
	case there:
		return kernel.Close, nil
	}
	// Each user has an entry of its own, which the others don't remove.
	entry := ours + processor + "-" + rand.Text()
	if err := write(kernel, "register", h.line(entry)); err != nil {
		return nil, errors.Join(err, kernel.Close())
	}
	return func() error {
		return errors.Join(write(kernel, entry, "-1"), kernel.Close())
	}, nil
}

// ours is how the names of the entries begin that Enable makes.
const ours = "erpnext-pipeline-"

// write writes to a file of the kernel's in one piece, and without any of the
// things that are done to usual files.
func write(kernel *os.Root, name, text string) error {
	file, err := kernel.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// handler is how programs are known and what runs them, as binfmt.d(5) and the
// kernel write it: ":name:type:offset:magic:mask:interpreter:flags".
type handler []string

// The fields of a handler.
const (
	fieldName  = 1
	fieldMagic = 4
	fieldFlags = 7
	fieldCount = 8
)

// readHandler reads what Debian would have systemd register.
func readHandler(path string) (handler, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	h := handler(strings.Split(strings.TrimSpace(string(text)), ":"))
	if len(h) != fieldCount {
		return nil, fmt.Errorf("read %s: not one entry of binfmt.d: %q", path, text)
	}
	return h, nil
}

// line is the handler under another name. F has the kernel open the
// interpreter now, so that it is found in containers as well.
func (h handler) line(name string) string {
	fields := slices.Clone(h)
	fields[fieldName] = name
	if !strings.Contains(fields[fieldFlags], "F") {
		fields[fieldFlags] += "F"
	}
	return strings.Join(fields, ":")
}

// isIn reports whether the kernel has the like of it from another program, for
// containers as well. That of another user of this package goes with that user.
func (h handler) isIn(kernel *os.Root) (bool, error) {
	magic := "magic " + strings.ReplaceAll(h[fieldMagic], `\x`, "")
	entries, err := fs.ReadDir(kernel.FS(), ".")
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ours) || entry.Name() == "register" {
			continue
		}
		text, err := kernel.ReadFile(entry.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken away just now
		}
		if err != nil {
			return false, err
		}
		lines := strings.Split(string(text), "\n")
		if lines[0] == "enabled" && slices.Contains(lines, magic) && slices.ContainsFunc(lines, opened) {
			return true, nil
		}
	}
	return false, nil
}

// opened reports whether a line of an entry tells that its interpreter is open.
func opened(line string) bool {
	flags, found := strings.CutPrefix(line, "flags: ")
	return found && strings.Contains(flags, "F")
}
