package image

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Resolve completes the lock: each app's name and version as its source has
// them, the digests of the public images, and the Python packages of all apps
// resolved together. A lock that names packages already keeps those that still
// fit. Problems with the apps come as a *problem.Error.
func (b *Builder) Resolve(ctx context.Context, lock release.Lock) (release.Lock, error) {
	if err := b.start(ctx); err != nil {
		return lock, err
	}
	var list []app
	side, sideCtx := errgroup.WithContext(ctx)
	side.Go(func() (err error) {
		list, err = survey(sideCtx, b.Reader, lock.Apps)
		return err
	})
	bases := lock
	side.Go(func() error { return b.pinBases(sideCtx, &bases) })
	if err := side.Wait(); err != nil {
		return lock, err
	}
	b.apps, b.lock = list, lock
	lock.Bases = bases.Bases
	lock.Apps = make([]release.App, len(list))
	for i, a := range list {
		lock.Apps[i] = a.App
	}
	b.usePacker(lock)
	tools := b.newTools(lock, b.native)
	b.resolved = b.resolvePackages(lock, list, tools, b.newCompilers(lock, tools))
	kept, err := b.keep(ctx, b.resolved)
	if err != nil {
		return lock, conflict(err, list)
	}
	texts, err := info(kept)
	if err != nil {
		return lock, err
	}
	lock.Requirements = onMachines(texts)
	if _, err := parseRequirements(lock.Requirements); err != nil {
		return lock, err
	}
	return lock, nil
}
