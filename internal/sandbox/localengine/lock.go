package localengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// lockPoll is how often a lock that is held elsewhere is tried again. The
// kernel's own waiting can't be cancelled.
const lockPoll = 50 * time.Millisecond

// fileLock is a lock on a file. It ends with the process, so that
// one that crashes leaves nothing locked.
type fileLock struct{ file *os.File }

// acquire waits until the lock can be had.
func acquire(ctx context.Context, path string, how int) (*fileLock, error) {
	for {
		lock, err := try(path, how)
		if lock != nil || err != nil {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for lock %s: %w", path, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// try returns the lock, or nil if it can't be had now.
func try(path string, how int) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	lock := &fileLock{file}
	held, err := lock.change(how)
	if err != nil || !held {
		return nil, errors.Join(err, file.Close())
	}
	return lock, nil
}

// change asks for another way of holding the lock, without waiting, and reports
// whether it is held so. If not, the lock may be lost.
func (l *fileLock) change(how int) (bool, error) { return flock(l.file, how) }

// release ends the lock. It can be called again.
func (l *fileLock) release() { _ = l.file.Close() }
