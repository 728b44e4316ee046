package localengine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Work on the sandbox that takes minutes of the machine asks to do it
// [Shared] with other such work, or [Exclusive] where something is measured.
// Whoever wants to be alone is let in next: nobody new begins meanwhile. Two
// files in the engine's folder make that work; both are locks:
//
//	turn.lock    held while somebody waits to begin
//	heavy.lock   shared by those at work together, or held by one alone

// Shared waits until nobody is at work alone, and gives what ends the work.
func Shared(ctx context.Context, cacheDir string) (done func(), err error) {
	return begin(ctx, cacheDir, shared)
}

// Exclusive waits until nobody else is at heavy work, and keeps others from
// beginning until the work is done.
func Exclusive(ctx context.Context, cacheDir string) (done func(), err error) {
	return begin(ctx, cacheDir, exclusive)
}

func begin(ctx context.Context, cacheDir string, how int) (func(), error) {
	dir := filepath.Join(cacheDir, "engine")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	turn, err := acquire(ctx, filepath.Join(dir, "turn.lock"), exclusive)
	if err != nil {
		return nil, err
	}
	work, err := acquire(ctx, filepath.Join(dir, "heavy.lock"), how)
	turn.release()
	if err != nil {
		return nil, err
	}
	return work.release, nil
}
