// Package image turns a lock into a container image: a graph of stages on
// Dagger in which a stage runs again only when what it reads has changed.
//
// Each stage yields a layer: the difference that its commands made to the
// file system. The image is the runtime base with these layers merged on top,
// what changes least lying lowest:
//
//	base          system packages, Node, bench, the entrypoints
//	environment   the virtualenv with the Python packages of all apps
//	modules       frappe's node_modules, which its websocket server needs
//	app           one layer per app: its source
//	assets        what esbuild and the apps' own front ends made
//	bench         the apps linked into the virtualenv, the manifest
//
// The package knows two moments: [Builder.Resolve] completes a lock with the
// apps' versions and the Python packages of all of them together, and
// [Builder.Build] makes the image from a complete lock and looks nothing up.
package image

import (
	"context"
	"fmt"
	"time"

	"dagger.io/dagger"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Builder makes images on an engine.
type Builder struct {
	// Client is the connection to the engine.
	Client *dagger.Client
	// Tokens are the credentials of private repositories by app URL. An app
	// without one is fetched without credentials.
	Tokens map[string]secret.Secret
	// Name is the name and version of the program, for the manifest.
	Name string
	// PackagesAsOf is the date after which Python packages are not
	// considered. The zero time stands for no limit.
	PackagesAsOf time.Time
	// NoCache makes every stage run anew.
	NoCache bool
	// Observe is told of every stage when it ends, from several goroutines
	// at once. It may be nil.
	Observe func(Stage)

	apps []fetched
	// id makes the stages of one build without cache share their results.
	id string
}

// Stage is one finished stage of a build.
type Stage struct {
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
	// Seconds is how long the caller waited for it.
	Seconds float64 `json:"seconds"`
	// Cached says that the engine had the result already.
	Cached bool `json:"cached"`
}

// Resolve fetches the apps and completes the lock: each app's name and
// version as its source has them, and the Python packages of all apps
// resolved together. A lock that names packages already keeps those that
// still fit. Problems with the apps come as a *problem.Error.
func (b *Builder) Resolve(ctx context.Context, lock release.Lock) (release.Lock, error) {
	apps, err := b.fetch(ctx, lock.Apps)
	if err != nil {
		return lock, err
	}
	b.apps = apps
	lock.Apps = make([]release.App, len(apps))
	for i, app := range apps {
		lock.Apps[i] = app.App
	}
	lock.Requirements, err = b.resolvePackages(ctx, lock, apps)
	return lock, err
}

// Build makes the image of a complete lock. The container is evaluated: what
// it returns is in the engine.
func (b *Builder) Build(ctx context.Context, lock release.Lock) (*dagger.Container, error) {
	if b.apps == nil {
		apps, err := b.fetch(ctx, lock.Apps)
		if err != nil {
			return nil, err
		}
		b.apps = apps
	}
	manifest, err := newManifest(lock, b.Name)
	if err != nil {
		return nil, err
	}

	base := b.base(lock)
	tools := b.tools(lock)

	// The environment and the node modules need nothing of each other.
	environment := b.environment(tools, lock.Requirements)
	modules := make([]layer, len(b.apps))
	sources := make([]layer, len(b.apps))
	side, sideCtx := errgroup.WithContext(ctx)
	for i, app := range b.apps {
		sources[i] = b.source(tools, app)
		modules[i] = b.modules(tools, app)
		side.Go(func() error { return b.run(sideCtx, modules[i]) })
	}
	side.Go(func() error { return b.run(sideCtx, environment) })
	side.Go(func() error { return b.run(sideCtx, layer{name: "base", made: base}) })
	if err := side.Wait(); err != nil {
		return nil, err
	}

	assets := b.assets(tools, b.apps, sources, modules)
	bench := b.bench(b.apps, environment, sources, manifest)
	side, sideCtx = errgroup.WithContext(ctx)
	side.Go(func() error { return b.run(sideCtx, assets) })
	side.Go(func() error { return b.run(sideCtx, bench) })
	if err := side.Wait(); err != nil {
		return nil, err
	}

	root := base.Rootfs().
		WithDirectory("/", environment.diff()).
		WithDirectory("/", modules[0].diff())
	for _, source := range sources {
		root = root.WithDirectory("/", source.diff())
	}
	root = root.WithDirectory("/", assets.diff())
	for i, app := range b.apps {
		root = root.WithDirectory("/", assets.built(b, app, sources[i]))
	}
	root = root.WithDirectory("/", bench.diff())

	ctr := base.WithRootfs(root).
		WithUser(user).
		WithWorkdir(benchDir).
		WithEntrypoint([]string{"/usr/local/bin/entrypoint.sh"}).
		WithDefaultArgs([]string{"start.sh"})
	labels, err := manifest.labels()
	if err != nil {
		return nil, err
	}
	for _, l := range labels {
		ctr = ctr.WithLabel(l.name, l.value)
	}
	ctr, err = ctr.Sync(ctx)
	if err != nil {
		return nil, fmt.Errorf("assemble image: %w", withOutput(err))
	}
	return ctr, nil
}
