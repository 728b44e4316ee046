// Package enginetest gives tests this machine's engine, and their turn on it.
package enginetest

import (
	"context"
	"io"
	"testing"

	"dagger.io/dagger"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
)

// CacheDir returns the folder that all tests on this machine share.
func CacheDir(t testing.TB) string {
	t.Helper()
	dir, err := localengine.DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Log returns a logger that writes into the test's log.
func Log(t testing.TB) zerolog.Logger { return zerolog.New(zerolog.NewTestWriter(t)) }

// Start joins this machine's engine, or starts it, until the test ends. Where
// that can't be done the test is skipped, except in CI.
func Start(t testing.TB) *localengine.Engine {
	t.Helper()
	e, err := localengine.Start(t.Context(), localengine.Options{CacheDir: CacheDir(t), Log: Log(t)})
	debiantest.Require(t, err)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// Session opens a session with the engine, which outlives the test's context:
// clean-up needs it. It returns the address of the engine's mirror as well.
func Session(t testing.TB) (client *dagger.Client, mirror string) {
	t.Helper()
	e := Start(t)
	client, err := e.Endpoint().Connect(context.Background(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client, e.Mirror()
}

// Exclusive waits until no other test does heavy work, and keeps such ones from
// beginning until this one ends, or until it calls done. What is measured is
// measured so.
func Exclusive(t testing.TB) (done func()) { return turn(t, localengine.Exclusive) }

// Shared waits until no other test measures, and keeps such ones from beginning
// until this one ends, or until it calls done.
func Shared(t testing.TB) (done func()) { return turn(t, localengine.Shared) }

func turn(t testing.TB, begin func(context.Context, string) (func(), error)) func() {
	t.Helper()
	done, err := begin(t.Context(), CacheDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return done
}
