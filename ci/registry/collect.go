package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
)

// ErrInUse says that another process works with the embedded registry's folder.
var ErrInUse = errors.New("another process uses the images on this machine")

// ErrNoLock says that files can't be locked there.
var ErrNoLock = errors.New("the file system of the user's cache does not lock files, so nothing is removed there")

// Targets returns all repositories of the embedded registry.
func (e *Embedded) Targets(ctx context.Context) ([]Target, error) {
	host, err := name.NewRegistry(e.address)
	if err != nil {
		return nil, fmt.Errorf("name the embedded registry: %w", err)
	}
	names, err := remote.Catalog(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("list images of the embedded registry: %w", err)
	}
	targets := make([]Target, len(names))
	for i, name := range names {
		targets[i] = Target{Host: e.address, Name: name}
	}
	return targets, nil
}

// uploadLimit is how long an upload may take.
const uploadLimit = 24 * time.Hour

// Collect has tags removed, then removes what no tag leads to from the embedded
// registry's folder, and returns how many bytes that frees. While another process has
// the registry open nothing is removed, and the error is [ErrInUse]: what has no tag
// yet may be on its way to one. Where files can't be locked it is [ErrNoLock].
func (e *Embedded) Collect(ctx context.Context, untag func(context.Context) error) (freed int64, err error) {
	if e.lock == nil {
		return 0, ErrNoLock
	}
	// A shared lock can't become another one everywhere.
	if err := e.lock.Unlock(); err != nil {
		return 0, fmt.Errorf("unlock the embedded registry: %w", err)
	}
	alone, err := e.lock.TryLock()
	if alone && err == nil {
		freed, err = e.sweep(ctx, untag)
		err = errors.Join(err, e.lock.Unlock())
	} else if err == nil {
		err = ErrInUse
	}
	_, lockErr := e.lock.TryRLockContext(ctx, lockInterval)
	return freed, errors.Join(err, lockErr)
}

func (e *Embedded) sweep(ctx context.Context, untag func(context.Context) error) (int64, error) {
	before, err := sizeOf(e.dir)
	if err != nil {
		return 0, err
	}
	if err := untag(ctx); err != nil {
		return 0, err
	}
	folder := filesystem.New(filesystem.DriverParameters{RootDirectory: e.dir, MaxThreads: 100})
	namespace, err := storage.NewRegistry(ctx, folder)
	if err != nil {
		return 0, fmt.Errorf("open the embedded registry's folder: %w", err)
	}
	repositories, ok := namespace.(distribution.RepositoryEnumerator)
	if !ok {
		return 0, errors.New("open the embedded registry's folder: it does not list its images")
	}
	vacuum := storage.NewVacuum(ctx, folder)
	some := false
	err = repositories.Enumerate(ctx, func(repository string) error {
		some = true
		return removeUntagged(ctx, namespace, vacuum, repository)
	})
	if !some && errors.As(err, new(driver.PathNotFoundError)) {
		return 0, nil // nothing was ever pushed
	}
	if err != nil {
		return 0, fmt.Errorf("remove images without a tag: %w", err)
	}
	_, _ = storage.PurgeUploads(ctx, folder, time.Now().Add(-uploadLimit), true)
	if err := storage.MarkAndSweep(ctx, folder, namespace, storage.GCOpts{Quiet: true}); err != nil {
		return 0, fmt.Errorf("remove layers of no image: %w", err)
	}
	after, err := sizeOf(e.dir)
	return before - after, err
}

// removeUntagged removes the manifests to which no tag of a repository leads.
// MarkAndSweep can do that too, but looks for each of them through all tags.
func removeUntagged(ctx context.Context, namespace distribution.Namespace, vacuum storage.Vacuum, in string) error {
	named, err := reference.WithName(in)
	if err != nil {
		return err
	}
	repository, err := namespace.Repository(ctx, named)
	if err != nil {
		return err
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return err
	}
	held := map[digest.Digest]bool{}
	var hold func(digest.Digest) error
	hold = func(d digest.Digest) error {
		if held[d] {
			return nil
		}
		held[d] = true
		manifest, err := manifests.Get(ctx, d)
		if errors.As(err, new(distribution.ErrManifestUnknownRevision)) {
			return nil // a tag of what is gone
		}
		if err != nil {
			return err
		}
		for _, part := range manifest.References() {
			is, err := manifests.Exists(ctx, part.Digest)
			if err != nil {
				return err
			}
			if !is {
				continue // a layer
			}
			if err := hold(part.Digest); err != nil {
				return err
			}
		}
		return nil
	}
	tags, err := repository.Tags(ctx).All(ctx)
	if err != nil && !errors.As(err, new(distribution.ErrRepositoryUnknown)) {
		return err
	}
	for _, tag := range tags {
		descriptor, err := repository.Tags(ctx).Get(ctx, tag)
		if err != nil {
			return err
		}
		if err := hold(descriptor.Digest); err != nil {
			return err
		}
	}
	all, ok := manifests.(distribution.ManifestEnumerator)
	if !ok {
		return errors.New("the folder does not list its manifests")
	}
	var free []digest.Digest
	err = all.Enumerate(ctx, func(d digest.Digest) error {
		if !held[d] {
			free = append(free, d)
		}
		return nil
	})
	// One whose first push was interrupted has none.
	if err != nil && !errors.As(err, new(driver.PathNotFoundError)) {
		return err
	}
	for _, d := range free {
		if err := vacuum.RemoveManifest(in, d, tags); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf returns how many bytes the files of a folder have.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return size, nil
}
