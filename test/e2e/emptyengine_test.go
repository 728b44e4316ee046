package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// removals are the caches on their way out. They have so many files that the
// next test does not wait for it.
var removals sync.WaitGroup

func TestMain(m *testing.M) {
	code := m.Run()
	removals.Wait()
	os.Exit(code)
}

// prepareBaseImages makes sure of the tools and base images that a world with
// an empty engine borrows.
func prepareBaseImages(t *testing.T) {
	t.Helper()
	if err := newWorld(t, sandbox.Options{NoHost: true}).Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// emptyEngine starts a world whose engine has an empty cache, with the tools
// and base images that there are already, and a GitHub.
func emptyEngine(t *testing.T, repositories string) *sandbox.World {
	t.Helper()
	usual := enginetest.CacheDir(t)
	// An engine's socket has a short path, which a test's folder has not.
	cache, err := os.MkdirTemp("", "empty-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// An engine that ended by itself has said why.
		if said, err := os.ReadFile(filepath.Join(cache, "engine", "engine.log")); t.Failed() && err == nil {
			t.Logf("the end of the engine's log:\n%s", said[max(0, len(said)-20_000):])
		}
		removals.Go(func() { _ = os.RemoveAll(cache) })
	})
	if err := os.MkdirAll(filepath.Join(cache, "engine"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, shared := range []string{"tools", "engine/images"} {
		if err := os.Symlink(filepath.Join(usual, shared), filepath.Join(cache, shared)); err != nil {
			t.Fatal(err)
		}
	}
	return newWorld(t, sandbox.Options{CacheDir: cache, NoHost: true, Repositories: repositories})
}
