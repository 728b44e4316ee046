//go:build unix

package localengine

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// How a lock is held: by one user alone, or together with others.
const (
	exclusive = syscall.LOCK_EX
	shared    = syscall.LOCK_SH
)

// flock asks for a way of holding the lock on a file (flock(2)), without
// waiting, and reports whether it is held.
func flock(file *os.File, how int) (bool, error) {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
	}
}
