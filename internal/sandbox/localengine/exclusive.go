package localengine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Work on the sandbox that takes minutes of the machine asks to do it
// [Shared] with other such work, or [Exclusive] where something is measured.
// Exclusive work that waits begins next: no other work begins meanwhile. Two
// locks in the engine's folder make that work:
//
//	turn.lock    held by the work that waits to begin
//	heavy.lock   shared by work that goes on together, or held by exclusive work

// Shared waits until no exclusive work goes on, and returns what ends the work
// that begins now.
func Shared(ctx context.Context, cacheDir string) (done func(), err error) {
	return begin(ctx, cacheDir, shared)
}

// Exclusive waits until no other work goes on, and keeps other work from
// beginning until this is done.
func Exclusive(ctx context.Context, cacheDir string) (done func(), err error) {
	return begin(ctx, cacheDir, exclusive)
}

func begin(ctx context.Context, cacheDir string, how int) (func(), error) {
	dir := filepath.Join(cacheDir, "engine")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("wait for other work: %w", err)
	}
	next, err := acquire(ctx, filepath.Join(dir, "turn.lock"), exclusive)
	if err != nil {
		return nil, err
	}
	work, err := acquire(ctx, filepath.Join(dir, "heavy.lock"), how)
	next.release()
	if err != nil {
		return nil, err
	}
	return work.release, nil
}
