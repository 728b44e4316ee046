package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/engine"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// connect opens a session with the engine: the one that the environment
// names, or the one that the SDK starts through Docker.
func (s *streams) connect(ctx context.Context, f *flags) (*dagger.Client, error) {
	var progress io.Writer = io.Discard
	if f.verbose {
		progress = s.err
	}
	if endpoint, named := engine.FromEnvironment(s.environ); named {
		return endpoint.Connect(ctx, progress)
	}
	client, err := dagger.Connect(ctx, dagger.WithLogOutput(progress))
	if err != nil {
		return nil, fmt.Errorf("connect to a Dagger engine (start Docker, or name an engine in _EXPERIMENTAL_DAGGER_RUNNER_HOST): %w", err)
	}
	return client, nil
}

// build is an image in the engine, on its way to a registry.
type build struct {
	client    *dagger.Client
	builder   *image.Builder
	lock      release.Lock
	container *dagger.Container

	observing sync.Mutex
	stages    []image.Stage
}

// startBuild opens the engine and completes the lock. before is the lock that
// runs on the host, whose Python packages are kept wherever they still fit.
func (s *streams) startBuild(ctx context.Context, f *flags, p prepared, resolved []release.App, before *release.Lock) (*build, error) {
	client, err := s.connect(ctx, f)
	if err != nil {
		return nil, err
	}
	b := &build{client: client, lock: p.lock(resolved)}
	tokens := map[string]secret.Secret{}
	for _, source := range p.sources {
		tokens[source.URL] = source.Token
	}
	b.builder = &image.Builder{
		Client: client, Tokens: tokens, Name: builderName(),
		PackagesAsOf: p.config.PackagesAsOf, NoCache: f.noCache,
		Observe: func(stage image.Stage) {
			b.observing.Lock()
			defer b.observing.Unlock()
			s.logStage(stage)
			b.stages = append(b.stages, stage)
		},
	}
	if before != nil && before.Python == b.lock.Python && p.config.PackagesAsOf.IsZero() {
		b.lock.Requirements = before.Requirements
	}
	if b.lock, err = b.builder.Resolve(ctx, b.lock); err != nil {
		_ = client.Close()
		return nil, err
	}
	return b, nil
}

func (s *streams) logStage(stage image.Stage) {
	event := s.log.Info().Str("took", fmt.Sprintf("%.1fs", stage.Seconds))
	if stage.Detail != "" {
		event = event.Str("of", stage.Detail)
	}
	if stage.Cached {
		event = event.Bool("cached", true)
	}
	event.Msg(stage.Name)
}

func (b *build) close() {
	if b != nil {
		_ = b.client.Close()
	}
}

// run builds the image.
func (b *build) run(ctx context.Context) (err error) {
	b.container, err = b.builder.Build(ctx, b.lock)
	return err
}

// load puts the image into the local Docker under its name and version. The
// SDK has a call for that, but it works only with an engine that the SDK
// started through Docker itself.
func (b *build) load(ctx context.Context, s *streams, name string) (err error) {
	reference := name + ":" + b.lock.SiteVersion
	if err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
		return fmt.Errorf("load %s into Docker: it does not run on this machine: %w", reference, err)
	}
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return fmt.Errorf("make folder for the image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archive := filepath.Join(dir, "image.tar")
	if err := b.export(ctx, archive, dagger.ImageMediaTypesDockerMediaTypes); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "docker", "load", "--quiet", "--input", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("load %s into Docker: %w\n%s", reference, err, out)
	}
	// The archive has no name in it: "Loaded image ID: sha256:…".
	loaded := strings.TrimSpace(string(out))
	loaded = loaded[strings.LastIndex(loaded, " ")+1:]
	if out, err := exec.CommandContext(ctx, "docker", "tag", loaded, reference).CombinedOutput(); err != nil {
		return fmt.Errorf("name the loaded image %s: %w\n%s", reference, err, out)
	}
	s.log.Info().Str("image", reference).Msg("loaded: docker images shows it")
	return nil
}

// export writes the image as an archive, with the media types of OCI or of
// Docker, which docker load of older versions needs.
func (b *build) export(ctx context.Context, path string, types dagger.ImageMediaTypes) error {
	if _, err := b.container.Export(ctx, path, dagger.ContainerExportOpts{MediaTypes: types}); err != nil {
		return fmt.Errorf("write image to %s: %w", path, err)
	}
	return nil
}

// destination is where images are pushed to. Where no registry is configured
// it is the embedded one, which the caller closes.
func (p prepared) destination(ctx context.Context) (registry.Target, *registry.Embedded, error) {
	target := registry.Target{
		Host: p.config.Registry.Host, Name: p.config.ImageName,
		Username: p.config.Registry.Username, Password: p.config.Registry.Password,
	}
	if target.Host != "" {
		return target, nil, nil
	}
	embedded, err := registry.Serve(ctx, filepath.Join(p.cache, "images"))
	if err != nil {
		return target, nil, err
	}
	target.Host, target.PulledAs = embedded.Address(), p.config.ImageName
	return target, embedded, nil
}

// push pushes the image under the release's version.
func (b *build) push(ctx context.Context, s *streams, target registry.Target) (release.Image, error) {
	start := time.Now()
	pushed, err := registry.Push(ctx, b.client, b.container, target, b.lock.SiteVersion, s.log)
	if err != nil {
		return pushed, err
	}
	s.log.Info().Stringer("image", pushed).Str("took", seconds(time.Since(start))).Msg("pushed")
	return pushed, nil
}

// builderName is the name and version of this program, for the manifest.
func builderName() string {
	name := "erpnext-pipeline"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		name += " " + info.Main.Version
	}
	return name
}
