package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"dagger.io/dagger"
	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// connect opens a session with the engine: the one that the environment
// names, or the one that the SDK starts through Docker. What it prints of the
// build goes to lines.
func (s *streams) connect(ctx context.Context, f *flags, lines io.Writer) (*dagger.Client, error) {
	if f.verbose {
		lines = io.MultiWriter(s.err, lines)
	}
	if endpoint, named := engine.FromEnvironment(s.environ); named {
		return endpoint.Connect(ctx, lines)
	}
	client, err := dagger.Connect(ctx, dagger.WithLogOutput(lines), dagger.WithEnvironmentVariable(progress.Variable, progress.Format))
	if err != nil {
		return nil, fmt.Errorf("connect to a Dagger engine (start Docker, or name an engine in _EXPERIMENTAL_DAGGER_RUNNER_HOST): %w", err)
	}
	return client, nil
}

// build is an image on its way to a registry.
type build struct {
	client  *dagger.Client
	builder *image.Builder
	lock    release.Lock
	image   *image.Image
	// smokeTest is what is known of the pushed image, for its record.
	smokeTest string
	// before is the Python packages of the release that the lock started from.
	before string

	timeline *progress.Timeline
	screen   *progress.Screen
	sources  []apps.Source
	stores   []image.Store
	// scratch is a folder for what is on its way.
	scratch string
	// page is the file for the timeline; empty for none.
	page string
	// undo puts the streams back as they were.
	undo func()
}

// startBuild opens the engine and lays everything out. Nothing is built yet.
func (s *streams) startBuild(ctx context.Context, f *flags, c *checked) (_ *build, err error) {
	b := &build{
		timeline: &progress.Timeline{Title: "Build of " + c.config.SiteVersion, Hide: s.hidden},
		sources:  c.sources, page: f.timeline,
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.scratch, err = os.MkdirTemp("", "erpnext-pipeline-"); err != nil {
		return nil, fmt.Errorf("make folder for layers: %w", err)
	}
	s.watch(b)
	var observing sync.Mutex
	began := map[string]time.Time{}
	observe := func(e progress.Event) {
		observing.Lock()
		defer observing.Unlock()
		b.timeline.Add(e)
		switch {
		case b.screen != nil:
			b.screen.Add(e)
		case e.Kind == progress.Began:
			began[e.Stage] = e.At
		default:
			s.logStage(e, began[e.Stage])
		}
	}
	lines := progress.NewLines(func(stage, line string) {
		if b.screen != nil && !image.Stamp.MatchString(line) {
			b.screen.Add(progress.Event{Stage: stage, Kind: progress.Line, At: time.Now(), Text: line})
		}
	})
	if b.client, err = s.connect(ctx, f, lines); err != nil {
		return nil, err
	}
	tokens := map[string]secret.Secret{}
	for _, source := range c.sources {
		tokens[source.URL] = source.Token
	}
	for _, target := range c.stores {
		b.stores = append(b.stores, &registry.Stages{Target: target, Scratch: b.scratch})
	}
	reader, err := newGitHub(c.config, c.cache, s.log)
	if err != nil {
		return nil, err
	}
	b.builder = newBuilder(c.config)
	b.builder.Client, b.builder.Reader, b.builder.Stores, b.builder.Tokens = b.client, commits{reader, b}, b.stores, tokens
	b.builder.Name, b.builder.Upgrade, b.builder.NoCache = builderName(), f.upgrade, f.noCache
	b.builder.Scratch, b.builder.Observe = b.scratch, observe
	return b, nil
}

// resolve completes the lock. before is the lock of the release before, whose
// Python packages and base images are kept wherever they still fit.
func (b *build) resolve(ctx context.Context, p prepared, resolved []release.App, before *release.Lock) (err error) {
	b.lock = newLock(p.config, resolved)
	if before != nil && before.Python == b.lock.Python && before.Node == b.lock.Node {
		b.lock.Bases = before.Bases
	}
	if before != nil && before.Python == b.lock.Python && p.config.PackagesAsOf.IsZero() {
		b.lock.Requirements, b.before = before.Requirements, before.Requirements
	}
	b.lock, err = b.builder.Resolve(ctx, b.lock)
	if err != nil {
		return err
	}
	names := []string{image.NoCacheAll}
	for _, app := range b.lock.Apps {
		names = append(names, app.Name)
	}
	if only := b.builder.NoCache; only != "" && !slices.Contains(names, only) {
		return fmt.Errorf("%w: --no-cache=%s: there is no such app; they are %s", errUsage, only, strings.Join(names[1:], ", "))
	}
	return nil
}

// commits reads apps' commits through GitHub's API.
type commits struct {
	github *apps.GitHub
	build  *build
}

func (c commits) source(app release.App) (apps.Source, error) {
	sources, err := apps.ForLock([]release.App{app}, c.build.sources)
	if err != nil {
		return apps.Source{}, err
	}
	return sources[0], nil
}

func (c commits) Tree(ctx context.Context, app release.App) ([]apps.File, error) {
	source, err := c.source(app)
	if err != nil {
		return nil, err
	}
	return c.github.Tree(ctx, source, app.Commit)
}

func (c commits) Read(ctx context.Context, app release.App, file apps.File) (string, error) {
	source, err := c.source(app)
	if err != nil {
		return "", err
	}
	return c.github.Read(ctx, source, file)
}

// watch shows a person on a terminal what runs. Logs pass through the screen
// until the build is closed.
func (s *streams) watch(b *build) {
	if !s.terminal {
		return
	}
	b.screen = progress.NewScreen(progress.Terminal{
		Out: s.redactErr, Color: true, Hide: s.hidden,
		Size: func() (int, int) {
			columns, rows, _ := term.GetSize(int(os.Stderr.Fd()))
			return columns, rows
		},
	})
	before := s.err
	s.err = b.screen.Writer()
	s.relog()
	b.undo = func() {
		_ = b.screen.Close()
		s.err = before
		s.relog()
	}
}

func (s *streams) logStage(e progress.Event, began time.Time) {
	if e.Kind != progress.Ended {
		return
	}
	event := s.log.Info()
	if e.Err != nil {
		event = s.log.Error()
	}
	event = event.Str("took", seconds(e.At.Sub(began)))
	if e.Cached {
		event = event.Bool("cached", true)
	}
	event.Msg(e.Stage)
}

// hide takes the screen off the terminal.
func (b *build) hide() {
	if b.undo != nil {
		b.undo()
		b.undo = nil
	}
}

// close ends the session.
func (b *build) close() {
	if b == nil {
		return
	}
	b.hide()
	if b.client != nil {
		_ = b.client.Close()
		b.client = nil
	}
	if b.scratch != "" {
		_ = os.RemoveAll(b.scratch)
	}
}

// writeTimeline writes the page with the timeline, if one is wanted.
func (b *build) writeTimeline() (err error) {
	if b.page == "" {
		return nil
	}
	file, err := os.Create(b.page)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return errors.Join(b.timeline.WriteHTML(file), file.Close())
}

// run builds the image.
func (b *build) run(ctx context.Context) (err error) {
	b.image, err = b.builder.Build(ctx, b.lock)
	return errors.Join(err, b.writeTimeline())
}

// load puts the image into the local Docker under its name and version.
func (b *build) load(ctx context.Context, s *streams, name string) (err error) {
	reference := name + ":" + b.lock.SiteVersion
	if err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
		return fmt.Errorf("load %s into Docker: it does not run on this machine: %w", reference, err)
	}
	archive := filepath.Join(b.scratch, "docker.tar")
	if err := registry.WriteDocker(archive, b.image, name, b.lock.SiteVersion); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "docker", "load", "--quiet", "--input", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("load %s into Docker: %w\n%s", reference, err, out)
	}
	s.log.Info().Str("image", reference).Msg("loaded: docker images shows it")
	return nil
}

// loadable refuses before a build what load can't do after it.
func (p prepared) loadable(f *flags) error {
	if f.load && len(p.config.Platforms) > 1 {
		return fmt.Errorf("%w: an image for several platforms can't be loaded into Docker: choose one with --platform", errUsage)
	}
	return nil
}

// writeLock writes the complete lock to a file, for a rebuild.
func (b *build) writeLock(path string) error {
	text, err := json.MarshalIndent(b.lock, "", "  ")
	if err != nil {
		return fmt.Errorf("encode lock: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// openStores says where the stages of builds are kept: in the registry that the
// image goes to, and in the one in this process, which what was built here
// before lies in.
func (c *checked) openStores(ctx context.Context, need config.Need) (err error) {
	p := c.prepared
	if c.embedded, err = registry.Serve(ctx, filepath.Join(p.cache, "images")); err != nil {
		return err
	}
	name := imageName(p.config)
	local := registry.Target{Host: c.embedded.Address(), Name: name, PulledAs: name}
	c.target, c.stores = local, []registry.Target{local}
	remote, set := registryTarget(p.config)
	if !set {
		return nil
	}
	c.target = remote
	if need&config.Push != 0 {
		c.stores = []registry.Target{c.target, local}
	}
	return nil
}

// push pushes the image under its digest, smoke-tests it, attaches what is known of
// it and gives it the version's tag.
func (b *build) push(ctx context.Context, s *streams, f *flags, c *checked) (release.Image, error) {
	start := time.Now()
	b.builder.Observe(progress.Event{Stage: "push", Kind: progress.Began, At: start, Needs: b.timeline.Stages()})
	reference, err := registry.Push(ctx, b.image, c.target)
	b.builder.Observe(progress.Event{Stage: "push", Kind: progress.Ended, At: time.Now(), Err: err})
	if err != nil {
		return release.Image{}, err
	}
	s.log.Info().Stringer("image", reference).Msg("pushed")
	// Stages that later builds want are stored meanwhile.
	rest := make(chan error, 1)
	go func() { rest <- b.image.StoreStages(ctx) }()
	err = b.attest(ctx, s, f, c, reference)
	if stored := <-rest; stored != nil && ctx.Err() == nil {
		s.log.Warn().Err(stored).Msg("some stages are not stored: the next build on an empty engine takes longer")
	}
	if err != nil {
		return release.Image{}, errors.Join(err, b.writeTimeline())
	}
	pushed, err := registry.Tag(ctx, c.target, b.lock.SiteVersion, reference.DigestStr())
	pushed.SmokeTest = b.smokeTest
	return pushed, errors.Join(err, b.writeTimeline())
}

// moved says which Python packages move, for a person.
func (b *build) moved() []string {
	if b.before == "" {
		return nil
	}
	moves, err := image.Moves(b.before, b.lock.Requirements)
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, m := range moves {
		switch {
		case m.From == "":
			lines = append(lines, m.Name+" "+m.To+" is new")
		case m.To == "":
			lines = append(lines, m.Name+" "+m.From+" goes")
		default:
			lines = append(lines, m.Name+" "+m.From+" → "+m.To)
		}
	}
	return lines
}

// builderName is the name and version of this program, for the manifest.
func builderName() string {
	name := "erpnext-pipeline"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		name += " " + info.Main.Version
	}
	return name
}
