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
//	bench         the apps linked into the virtualenv, the manifest
//
// Layers are archives in one order, with times that follow from the content,
// so the same lock gives the same image on any engine.
//
// The package knows two moments: [Builder.Resolve] completes a lock with the
// apps' versions and the Python packages of all of them together, and
// [Builder.Build] makes the image from a complete lock and looks nothing up.
package image

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
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
	// Tokens are the credentials of private repositories by app URL. An app
	// without one is fetched without credentials.
	Tokens map[string]secret.Secret
	// Name is the name and version of the program, for the manifest.
	Name string
	// Upgrade are the Python packages that move to the newest version that
	// fits, or UpgradeAll.
	Upgrade []string
	// NoCache makes the stages of one app run anew, or all with NoCacheAll.
	NoCache string
	// Scratch is a folder for layers on their way. The caller removes it.
	Scratch string
	// Observe is told what becomes of the stages, from several goroutines at
	// once. It may be nil.
	Observe func(progress.Event)

	apps   []app
	packer *stage
	native dagger.Platform
	// slots has an element for every command that runs.
	slots chan struct{}
	// lasting is the caller's context: a stage that was found is read later,
	// when the group that found it has ended.
	lasting context.Context
	// id makes the stages of one build without cache share their results.
	id     string
	idOnce sync.Once
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
	// Native is the image that the engine can run by itself.
	Native v1.Image
	// Manifest is what the image says of itself, with all its packages.
	Manifest release.Manifest
	// Created is when the newest commit in it was made.
	Created time.Time
	// DpkgStatus and OSRelease are what Debian's package manager knows of the
	// image, for its bill of materials.
	DpkgStatus, OSRelease string
	// Yarn are the yarn.lock files of the node modules in it, by path.
	Yarn map[string]string

	rest func(context.Context) error
}

// StoreStages stores the stages that are not part of the image and make a later build
// on an empty engine quick: tools, compilers, node modules that only assets are
// built with. Nothing waits for it but the end of the program.
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
		list, err = b.survey(sideCtx, lock.Apps)
		return err
	})
	bases := lock
	side.Go(func() error { return b.pinBases(sideCtx, &bases) })
	if err := side.Wait(); err != nil {
		return lock, err
	}
	b.apps = list
	lock.Bases = bases.Bases
	lock.Apps = make([]release.App, len(list))
	for i, a := range list {
		lock.Apps[i] = a.App
	}
	b.packer = b.newPacker(lock)
	tools := b.newTools(lock, b.native)
	packages := b.resolvePackages(lock, list, tools, b.newCompilers(tools))
	kept, err := b.keep(ctx, packages)
	if err != nil {
		return lock, conflict(err, list)
	}
	texts, err := info(kept)
	if err != nil {
		return lock, err
	}
	if _, err := parseRequirements(texts["lock.txt"]); err != nil {
		return lock, err
	}
	lock.Requirements = texts["lock.txt"]
	return lock, nil
}

// graph are the stages of a build.
type graph struct {
	// bases, commands and environments are by platform's index.
	bases, commands, environments []*stage
	// modules and served by platform's index and app's name.
	modules, served []map[string]*stage
	sources         []*stage
	links           []*stage
	// assets and fronts by app's name.
	assets, fronts map[string]*stage
	// rest are kept for later builds only.
	rest []*stage
}

// newGraph lays out the stages of a complete lock. Nothing runs.
func (b *Builder) newGraph(lock release.Lock) *graph {
	g := &graph{assets: map[string]*stage{}, fronts: map[string]*stage{}}
	b.packer = b.newPacker(lock)
	g.rest = append(g.rest, b.packer)
	var nativeTools, nativeEnvironment *stage
	for _, platform := range b.Platforms {
		tools := b.newTools(lock, platform)
		compilers := b.newCompilers(tools)
		g.rest = append(g.rest, tools, compilers)
		environment := b.environment(lock.Requirements, compilers)
		g.bases = append(g.bases, b.base(lock, platform))
		g.commands = append(g.commands, b.command(tools))
		g.environments = append(g.environments, environment)
		modules, served := map[string]*stage{}, map[string]*stage{}
		for i := range b.apps {
			a := &b.apps[i]
			if !a.has("package.json") {
				continue
			}
			modules[a.Name] = b.modules(a, tools)
			g.rest = append(g.rest, modules[a.Name])
			if a.servesModules() {
				served[a.Name] = b.served(a, modules[a.Name])
			}
		}
		g.modules, g.served = append(g.modules, modules), append(g.served, served)
		if platform == b.native || nativeTools == nil {
			nativeTools, nativeEnvironment = tools, environment
		}
	}
	native := max(0, slices.Index(b.Platforms, b.native))
	for i := range b.apps {
		a := &b.apps[i]
		g.sources = append(g.sources, b.source(a))
		g.links = append(g.links, b.link(a, nativeTools, nativeEnvironment))
		if a.bundles() {
			g.assets[a.Name] = b.assets(a, b.visible(a), nativeTools, g.modules[native])
		}
		if a.builds {
			g.fronts[a.Name] = b.front(a, b.visible(a), nativeTools, g.modules[native])
		}
	}
	return g
}

// Requires are the apps that an app's hooks.py asks for.
func (b *Builder) Requires(name string) []string {
	for _, a := range b.apps {
		if a.Name == name {
			return a.requires
		}
	}
	return nil
}

// Public is a container of a public image, from the mirror if there is one.
func (b *Builder) Public(name string) *dagger.Container {
	return b.Client.Container().From(b.address(name))
}

// visible are the apps from which an app's front end may import: frappe, those
// that it requires, and itself.
func (b *Builder) visible(a *app) []*app {
	wanted := map[string]bool{"frappe": true, a.Name: true}
	for grew := true; grew; {
		grew = false
		for _, other := range b.apps {
			if !wanted[other.Name] {
				continue
			}
			for _, name := range other.requires {
				grew = grew || !wanted[name]
				wanted[name] = true
			}
		}
	}
	var list []*app
	for i := range b.apps {
		if wanted[b.apps[i].Name] {
			list = append(list, &b.apps[i])
		}
	}
	return list
}

// mostLayers is how many layers an image can have: Docker's overlay2 driver
// takes 128, and the last are left to those who build on top of it.
const mostLayers = 120

// Build makes the image of a complete lock. All its layers but the last are in
// the first store when it returns.
func (b *Builder) Build(ctx context.Context, lock release.Lock) (*Image, error) {
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if b.apps == nil {
		list, err := b.survey(ctx, lock.Apps)
		if err != nil {
			return nil, err
		}
		b.apps = list
	}
	m, err := newManifest(lock, b.Name)
	if err != nil {
		return nil, err
	}
	g := b.newGraph(lock)

	side, sideCtx := errgroup.WithContext(ctx)
	need := func(stages ...*stage) {
		for _, s := range stages {
			side.Go(func() error {
				_, err := b.keep(sideCtx, s)
				return err
			})
		}
	}
	need(g.environments...)
	need(g.bases...)
	need(g.commands...)
	for _, served := range g.served {
		for _, s := range served {
			need(s)
		}
	}
	for _, a := range b.apps {
		for _, s := range []*stage{g.assets[a.Name], g.fronts[a.Name]} {
			if s != nil {
				need(s)
			}
		}
	}
	need(g.sources...)
	need(g.links...)
	if err := side.Wait(); err != nil {
		return nil, err
	}

	image := &Image{Manifest: release.Manifest(m), Created: m.created(), Yarn: map[string]string{}, rest: func(ctx context.Context) error {
		for _, s := range g.rest {
			// What nothing asked for is there already, or of no use.
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
		return nil
	}}
	last, err := benchLayer(b.apps, g, m, lock.Requirements)
	if err != nil {
		return nil, err
	}
	if err := b.describe(ctx, image, g); err != nil {
		return nil, err
	}
	var single []v1.Image
	for i, platform := range b.Platforms {
		one, err := b.assemble(g, i, platform, m, last)
		if err != nil {
			return nil, err
		}
		single = append(single, one)
	}
	image.Native = single[max(0, slices.Index(b.Platforms, b.native))]
	if len(single) == 1 {
		image.Single = single[0]
		image.Digest, err = single[0].Digest()
		return image, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, platform := range b.Platforms {
		system, architecture, _ := strings.Cut(string(platform), "/")
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: single[i], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: system, Architecture: architecture}},
		})
	}
	image.Index = mutate.Annotations(index, m.annotations()).(v1.ImageIndex)
	image.Digest, err = image.Index.Digest()
	return image, err
}

// describe reads what a bill of materials needs.
func (b *Builder) describe(ctx context.Context, image *Image, g *graph) error {
	texts, err := info(g.bases[0].run.kept)
	if err != nil {
		return err
	}
	image.DpkgStatus, image.OSRelease = texts["dpkg"], texts["os-release"]
	for _, a := range b.apps {
		at := slices.IndexFunc(a.files, func(f apps.File) bool { return f.Path == "yarn.lock" })
		if !a.servesModules() || at < 0 {
			continue
		}
		text, err := b.Reader.Read(ctx, a.App, a.files[at])
		if err != nil {
			return fmt.Errorf("read yarn.lock of %s: %w", a.Name, err)
		}
		image.Yarn[a.dir()+"/yarn.lock"] = text
	}
	return nil
}

// assemble puts the image of one platform together out of stored layers.
func (b *Builder) assemble(g *graph, platform int, name dagger.Platform, m manifest, last v1.Layer) (v1.Image, error) {
	created := v1.Time{Time: m.created()}
	var addenda []mutate.Addendum
	add := func(s *stage) error {
		layer, err := fileSystem(s.run.kept)
		if err != nil || layer == nil {
			return err
		}
		addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: s.history}})
		return nil
	}
	order := []*stage{g.bases[platform], g.commands[platform], g.environments[platform]}
	for _, a := range b.apps {
		if s := g.served[platform][a.Name]; s != nil {
			order = append(order, s)
		}
	}
	for i, a := range b.apps {
		order = append(order, g.sources[i])
		for _, s := range []*stage{g.assets[a.Name], g.fronts[a.Name]} {
			if s != nil {
				order = append(order, s)
			}
		}
	}
	for _, s := range order {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	if len(addenda)+1 > mostLayers {
		return nil, problem.Report{{
			Code: "image.layers", Subject: "apps.json", Detail: fmt.Sprintf("%d apps make %d layers, and an image can have %d", len(b.apps), len(addenda)+1, mostLayers),
			Remedy: "leave out apps that no site has installed",
		}}.Err()
	}
	addenda = append(addenda, mutate.Addendum{Layer: last, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "bench"}})

	labels, err := m.labels()
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	if image, err = mutate.Append(image, addenda...); err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(string(name), "/")
	config.Created = created
	config.Config = v1.Config{
		User: user, WorkingDir: benchDir,
		Entrypoint: []string{"/usr/local/bin/entrypoint.sh"}, Cmd: []string{"start.sh"},
		Env:     []string{"PATH=" + searchPath, "LANG=C.UTF-8"},
		Labels:  labels,
		Volumes: map[string]struct{}{benchDir + "/sites": {}, benchDir + "/logs": {}},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	return mutate.Annotations(image, m.annotations()).(v1.Image), nil
}
