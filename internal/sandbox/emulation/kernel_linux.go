package emulation

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// openKernel returns the kernel's list of what runs what: a file for each entry,
// and one to add to it. It is mounted only for this process, as long as it is
// open, and nowhere to be seen: the machine's own mounts stay as they are. A
// kernel from 6.7 on forgets the entries with the last mount, and so those of a
// process that was killed.
func openKernel() (_ *os.Root, err error) {
	dir, err := os.MkdirTemp("", "binfmt-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := syscall.Mount("binfmt_misc", dir, "binfmt_misc", 0, ""); err != nil {
		return nil, fmt.Errorf("mount binfmt_misc: %w", err)
	}
	root, err := os.OpenRoot(dir)
	// What is open stays mounted.
	return root, errors.Join(err, syscall.Unmount(dir, syscall.MNT_DETACH))
}
