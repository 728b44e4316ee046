// Package image turns a lock into a container image: a graph of stages on
// Dagger, each named by everything that it reads.
//
// A stage's key is made before anything is fetched, from git's own names of
// the files' contents, the scripts and the keys of the stages that it needs.
// A registry keeps each stage under its key: what is there already, made by
// whichever engine, is never built again, and its layer neither compressed
// nor sent again. The image is put together out of such layers, what changes
// least lying lowest:
//
//	base          system packages, Node, the entrypoints
//	command       bench itself
//	environment   the virtualenv with the Python packages of all apps
//	modules       frappe's node_modules, which its websocket server needs
//	app           the source of an app, a layer each
//	assets        what esbuild made of an app's bundles, a layer each
//	front         what an app's own front end became, a layer each
//	locale        an app's translations, compiled, a layer each
//	bench         the apps linked into the virtualenv, the manifest
//
// Layers are archives in one order, with times that follow from the content,
// so the same lock makes the same image on any engine.
//
// The package knows two moments: [Builder.Resolve] completes a lock with the
// apps' versions and the Python packages of all of them together, and
// [Builder.Build] makes the image from a complete lock and looks nothing up.
package image

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Builder makes images on an engine. It is for one build.
type Builder struct {
	// Options are what the configuration says.
	Options
	// Client is the connection to the engine.
	Client *dagger.Client
	// Reader tells what the apps' commits hold.
	Reader Reader
	// Stores keep stages. All are looked into, the first is written to.
	Stores []Store
	// Sources say by an app's URL how to log in where it is. An app without one
	// is fetched without credentials.
	Sources map[string]apps.Source
	// KnownHosts are the host keys that git accepts over SSH, in the format of
	// known_hosts.
	KnownHosts string
	// Name is the name and version of the program, for the manifest.
	Name string
	// Upgrade are the Python packages that move to the newest version that
	// fits, or UpgradeAll.
	Upgrade []string
	// NoCache makes the stages of one app run anew, or all with NoCacheAll.
	NoCache string
	// Scratch is a folder for layers on their way. The caller removes it.
	Scratch string
	// Uses is told the tags of the stages that a build reads or writes, those too that
	// it would need if another was not there. It may be nil.
	Uses func(tags []string)
	// Observe is told what becomes of the stages, from several goroutines at
	// once. It may be nil.
	Observe func(progress.Event)

	apps   []app
	lock   release.Lock
	packer *stage
	// resolved is the stage with the Python packages; nil where the lock came with them.
	resolved *stage
	native   dagger.Platform
	// slots has an element for every command that runs.
	slots chan struct{}
	// lasting is the caller's context: a stage that was found is read later,
	// when the group that found it has ended.
	lasting context.Context
	// id makes the stages of one build without cache share their results.
	id     string
	idOnce sync.Once
	// held are the tags that the first store does not let be written.
	holding sync.Mutex
	held    []*HeldError
}

// Image is what a build yields: an image for one platform or an index of
// several. Its layers may still lie in the stores.
type Image struct {
	// Single is the image where there is one platform, else nil.
	Single v1.Image
	// Index holds the images of several platforms, else nil.
	Index v1.ImageIndex
	// Digest names either.
	Digest v1.Hash
	// Platforms are the images of all platforms, in the order of the index: one
	// where there is no index.
	Platforms []v1.Image
	// Native is the image that the engine can run by itself.
	Native v1.Image
	// Manifest is what the image says of itself, with all its packages.
	Manifest release.Manifest
	// Created is when the newest commit in it was made.
	Created time.Time
	// Held says, with its remedy, that tags of stages can't be written, which is no
	// failure: the stages are in the store. It is nil where all were.
	Held error

	rest func(context.Context) error
}

// StoreStages stores the stages that are not part of the image and make a later
// build on an empty engine quick: tools, compilers, node modules that only
// assets are built with. Only the end of the program waits for it.
func (i *Image) StoreStages(ctx context.Context) error { return i.rest(ctx) }

// start looks at the engine.
func (b *Builder) start(ctx context.Context) error {
	b.lasting = ctx
	if b.slots == nil {
		b.slots = make(chan struct{}, mostAtOnce)
	}
	if b.native != "" {
		return nil
	}
	native, err := b.Client.DefaultPlatform(ctx)
	if err != nil {
		return fmt.Errorf("ask the engine for its platform: %w", err)
	}
	b.native = native
	if len(b.Platforms) == 0 {
		b.Platforms = []dagger.Platform{native}
	}
	if b.Scratch == "" {
		b.Scratch = os.TempDir()
	}
	return nil
}

// platformOf is what a stage's files are for.
func (b *Builder) platformOf(s *stage) dagger.Platform {
	if s.platform != "" {
		return s.platform
	}
	return b.native
}

// Build makes the image of a complete lock. All its layers but the last are in
// the first store when it returns.
func (b *Builder) Build(ctx context.Context, lock release.Lock) (*Image, error) {
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if b.apps == nil {
		list, err := survey(ctx, b.Reader, lock.Apps)
		if err != nil {
			return nil, err
		}
		b.apps = list
	}
	b.lock = lock
	m, err := newManifest(lock, b.Name)
	if err != nil {
		return nil, err
	}
	g := b.newGraph(lock)
	if b.Uses != nil {
		b.Uses(b.uses(g))
	}
	if err := b.keepAll(ctx, g.inImage(b.apps)); err != nil {
		return nil, err
	}
	image := &Image{
		Manifest: release.Manifest(m), Created: m.created(),
		rest: func(ctx context.Context) error { return b.storeRest(ctx, g) },
	}
	last, err := benchLayer(b.apps, g, m, lock.Requirements)
	if err != nil {
		return nil, err
	}
	image.Held = b.heldTags()
	return image, b.mergePlatforms(image, g, m, last)
}

// keepAll stores stages, side by side.
func (b *Builder) keepAll(ctx context.Context, stages []*stage) error {
	side, ctx := errgroup.WithContext(ctx)
	for _, s := range stages {
		side.Go(func() error {
			_, err := b.keep(ctx, s)
			return err
		})
	}
	return side.Wait()
}

// storeRest stores the stages of a graph that are for later builds only.
func (b *Builder) storeRest(ctx context.Context, g *graph) error {
	for _, s := range g.rest {
		// What no other stage asked for is stored already, or of no use.
		if s.run.made == nil {
			continue
		}
		kept, err := b.keep(ctx, s)
		if err != nil {
			return err
		}
		// The next build takes it from the store: let the engine unpack it
		// from there already, for which it has to be looked into.
		c, err := b.Stores[0].Container(ctx, b.Client, kept)
		if err != nil {
			return err
		}
		if _, err := c.Rootfs().Entries(ctx); err != nil {
			return err
		}
	}
	return b.heldTags()
}
