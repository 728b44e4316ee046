package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
)

// heavy returns an image of one layer of so many bytes.
func heavy(t *testing.T, size int64) *image.Image {
	t.Helper()
	layer, err := random.Layer(size, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	return built(t, "", layer)
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	e, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	to, other := Target{Host: e.Address(), Name: "acme/site"}, Target{Host: e.Address(), Name: "acme/other"}

	live, failed, stale := heavy(t, 1<<20), heavy(t, 2<<20), heavy(t, 3<<20)
	pushed(t, to, "1.0.0", live)
	pushed(t, other, "1.0.0", heavy(t, 1<<10))
	if _, err := Push(t.Context(), failed, to); err != nil {
		t.Fatal(err)
	}
	if err := (&Stages{Target: to}).Keep(t.Context(), "stage.a.1", stale.Single); err != nil {
		t.Fatal(err)
	}
	// An index of two platforms, and the list of an image's artifacts.
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
		mutate.IndexAddendum{Add: heavy(t, 1<<10).Single}, mutate.IndexAddendum{Add: heavy(t, 1<<10).Single})
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pushed(t, to, "1.1.0", &image.Image{Index: index, Digest: digest})
	list, err := name.NewTag(to.Repository() + ":sha256-" + live.Digest.Hex)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(list, index, to.Options(t.Context())...); err != nil {
		t.Fatal(err)
	}
	noted(t, to, "", now.AddDate(-1, 0, 0), "stage.a.1")
	untag := func(ctx context.Context) error {
		_, err := RemoveUnused(ctx, to, unused(t, to, month))
		return err
	}
	second, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if freed, err := e.Collect(t.Context(), untag); !errors.Is(err, ErrInUse) || freed != 0 {
		t.Errorf("beside another process: freed %d, %v", freed, err)
	}
	if !slices.Contains(tags(t, to), "stage.a.1") {
		t.Error("a stage was removed beside another process")
	}
	if found, err := remote.Image(list.Context().Digest(failed.Digest.String()), to.Options(t.Context())...); err != nil || whole(found) != nil {
		t.Errorf("what another process may be about to tag is gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	freed, err := e.Collect(t.Context(), untag)
	if least := int64(5 << 20); err != nil || freed < least || freed > least+1<<18 {
		t.Errorf("freed %d, %v; want the %d of what failed and what was removed", freed, err, least)
	}
	for _, tag := range []string{"1.0.0", "1.1.0", "sha256-" + live.Digest.Hex} {
		if !slices.Contains(tags(t, to), tag) {
			t.Errorf("%s is gone", tag)
		}
	}
	found, err := remote.Image(list.Context().Tag("1.0.0"), to.Options(t.Context())...)
	if err != nil || whole(found) != nil {
		t.Errorf("the live image is not whole: %v, %v", err, whole(found))
	}
	both, err := remote.Index(list.Context().Tag("1.1.0"), to.Options(t.Context())...)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := both.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range manifest.Manifests {
		if one, err := both.Image(child.Digest); err != nil || whole(one) != nil {
			t.Errorf("a platform of the index is not whole: %v", err)
		}
	}
	// What was removed can be there again, and the lock is shared again.
	if _, err := Push(t.Context(), failed, to); err != nil {
		t.Error(err)
	}
	third, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	targets, err := e.Targets(t.Context())
	if err != nil || !slices.Equal(targets, []Target{other, to}) {
		t.Errorf("its images are %v, %v", targets, err)
	}
}

func nothing(context.Context) error { return nil }

// A tag whose image was removed by hand must not keep the rest from being tidied up.
func TestCollectPassesOverWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	e, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if freed, err := e.Collect(t.Context(), nothing); err != nil || freed != 0 {
		t.Errorf("an empty folder: freed %d, %v", freed, err)
	}
	to := Target{Host: e.Address(), Name: "acme/site"}
	first, err := name.NewRepository(e.Address() + "/acme/interrupted")
	if err != nil {
		t.Fatal(err)
	}
	layer, err := random.Layer(1<<20, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteLayer(first, layer); err != nil {
		t.Fatal(err)
	}
	broken := heavy(t, 1<<10)
	pushed(t, to, "1.0.0", broken)
	pushed(t, to, "1.1.0", heavy(t, 1<<10))
	if err := os.RemoveAll(filepath.Join(dir, "docker/registry/v2/repositories/acme/site/_manifests/revisions/sha256", broken.Digest.Hex)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Collect(t.Context(), func(context.Context) error { return errors.New("502") }); err == nil || err.Error() != "502" {
		t.Errorf("tags that can't be removed: %v", err)
	}
	if freed, err := e.Collect(t.Context(), nothing); err != nil || freed < 1<<20 {
		t.Errorf("freed %d, %v", freed, err)
	}
}

// While one process removes what no tag leads to, another must not begin to push.
func TestServeWaitsForCollect(t *testing.T) {
	dir := t.TempDir()
	lock := flock.New(filepath.Join(dir, "lock"))
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 3*lockInterval)
	defer cancel()
	if _, err := Serve(short, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait: %v", err)
	}
	time.AfterFunc(3*lockInterval, func() { _ = lock.Unlock() })
	began := time.Now()
	e, err := Serve(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*lockInterval {
		t.Errorf("it waited for %s alone", took)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
