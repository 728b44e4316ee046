package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// session is what one build runs in: the engine, the stores of stages, and what
// shows the build while it runs.
type session struct {
	client  *dagger.Client
	builder *image.Builder
	stores  []image.Store
	watcher *watcher
	// page is the file for the timeline; empty for none.
	page string
	// scratch is a folder for what is on its way.
	scratch string
	// began is when the session did.
	began time.Time
	// background is what is done for later builds. Only the end of the session waits
	// for it.
	background sync.WaitGroup
}

// built is an image with the lock that it was built from.
type built struct {
	lock  release.Lock
	image *image.Image
	// ended is when the build did.
	ended time.Time
}

// scratchPrefix begins the names of folders for what is on its way.
const scratchPrefix = "erpnext-pipeline-scratch-"

// openSession connects to the engine and puts everything in place. Nothing is
// built yet.
func (c *cli) openSession(ctx context.Context, in inputs, stages []registry.Target, flags buildFlags) (_ *session, err error) {
	s := &session{page: flags.timeline, builder: newBuilder(in.config), began: time.Now()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.scratch, err = os.MkdirTemp("", scratchPrefix); err != nil {
		return nil, fmt.Errorf("make folder for layers: %w", err)
	}
	s.watcher = c.watch("Build of " + in.config.Lock.SiteVersion)
	var lines io.Writer = progress.NewLines(s.watcher.line)
	if c.verbose {
		lines = io.MultiWriter(c.err, lines)
	}
	if s.client, err = in.config.Engine.Connect(ctx, lines); err != nil {
		return nil, err
	}
	servers, err := c.newServers(in)
	if err != nil {
		return nil, err
	}
	for _, target := range stages {
		s.stores = append(s.stores, &registry.Stages{Target: target, Scratch: s.scratch, Borrowed: target.Name != stages[0].Name})
	}
	b := s.builder
	b.Client, b.Reader, b.Stores, b.Sources, b.KnownHosts = s.client, commits{servers, in.sources}, s.stores, map[string]apps.Source{}, knownHosts(in.config)
	for _, source := range in.sources {
		b.Sources[source.URL] = source
	}
	b.Name, b.Upgrade, b.NoCache = builderName(readVersion()), flags.upgrade, flags.noCache
	b.Scratch, b.Observe = s.scratch, s.watcher.observe
	// The day of a build is that on which it began.
	day := time.Now()
	b.Uses = func(tags []string) {
		s.background.Go(func() {
			err := registry.NoteUse(ctx, stages[0], in.config.Lock.SiteVersion, tags, day)
			if err != nil && ctx.Err() == nil {
				c.log.Warn().Err(err).Msg("it is not noted which stages this build uses: prune --stages may remove some of them")
			}
		})
	}
	return s, nil
}

// close ends the session.
func (s *session) close() {
	s.background.Wait()
	if s.watcher != nil {
		s.watcher.hide()
	}
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.scratch != "" {
		_ = os.RemoveAll(s.scratch)
	}
}

// resolve completes a lock. Python packages and base images that it has are kept
// wherever they still fit.
func (s *session) resolve(ctx context.Context, lock release.Lock) (release.Lock, error) {
	lock, err := s.builder.Resolve(ctx, lock)
	if err != nil {
		return lock, err
	}
	names := []string{image.NoCacheAll}
	for _, app := range lock.Apps {
		names = append(names, app.Name)
	}
	if only := s.builder.NoCache; only != "" && !slices.Contains(names, only) {
		return lock, fmt.Errorf("%w: --no-cache=%s: there is no such app; they are %s", errUsage, only, strings.Join(names[1:], ", "))
	}
	return lock, nil
}

// build builds the image of a lock.
func (s *session) build(ctx context.Context, lock release.Lock) (built, error) {
	image, err := s.builder.Build(ctx, lock)
	if err == nil && image.Held != nil {
		warn(s.watcher.cli.log, image.Held)
	}
	return built{lock: lock, image: image, ended: time.Now()}, errors.Join(err, s.writeTimeline())
}

// writeTimeline writes the page with the timeline, if one is wanted.
func (s *session) writeTimeline() error { return s.watcher.write(s.page) }
