package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/baseline"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Flags that have [TestBars] measure other apps than the fixtures.
var (
	barRepositories = flag.String("bars.repositories", "", "folder of bare repositories OWNER/NAME.git to build in place of the fixture apps")
	barApps         = flag.String("bars.apps", "", "OWNER/NAME=REF,… to build, frappe first")
	barPython       = flag.String("bars.python", "", "NAME=REF: one app with a line of Python changed")
	barAssets       = flag.String("bars.assets", "", "NAME=REF: one app with a line of a bundle changed")
	barElsewhere    = flag.String("bars.elsewhere", "", "NAME=REF: one app with another line of Python changed")
	barReproduce    = flag.Bool("bars.reproduce", true, "build the first image once more on another engine, and compare")
	barFront        = flag.String("bars.front", "", "NAME=REF: one app with a line of its own front end changed")
)

// change is one app at another ref, as the flags write it.
type change string

func (c change) in(s apps.Selection) apps.Selection {
	app, ref, _ := strings.Cut(string(c), "=")
	return s.With(app, ref)
}

// bars are what is asked: of real apps, and of the fixture apps, for which the
// one-step way has next to nothing to do, on a machine that is busy with other
// tests meanwhile.
type bars struct {
	cold, python, bundle, front, elsewhere, bench, image float64
	unchanged, resolve                                   time.Duration
}

var (
	realBars    = bars{1.5, 30, 10, 8, 5, 0.6, 0.6, time.Second, 3 * time.Second}
	fixtureBars = bars{0.7, 1.2, 1.2, 1.2, 3, 0.8, 0.7, 2 * time.Second, 8 * time.Second}
)

// contest is what both ways of building are tried with.
type contest struct {
	t            *testing.T
	repositories string
	apps         apps.Selection
	// changed are the selections with one app changed, by what is changed.
	changed map[string]apps.Selection
	// registry is where both push to.
	registry *registry.Embedded
	// github is one for all builds: its address is part of a lock.
	github *github.Server
	bars   bars
	rows   [][]string
}

// TestBars holds the build against the one-step way: both on engines of the
// same kind with empty caches, from the same base images and sources, one
// after the other. With the flags above it measures real apps; the bars are
// those of docs/benchmarks.md.
func TestBars(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images on several engines")
	}
	cache, err := localengine.DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	alone(t, cache)
	c := &contest{t: t, repositories: *barRepositories, bars: fixtureBars, changed: map[string]apps.Selection{}}
	c.apps = apps.Version1()
	changes := map[string]change{"Python": "de_customs=bars-python", "bundle": "erpnext=bars-assets", "front end": "hrms=bars-front", "elsewhere": "payments=bars-elsewhere"}
	if c.repositories != "" {
		if c.apps, err = apps.ParseSelection(*barApps); err != nil {
			t.Fatal(err)
		}
		c.bars = realBars
		changes = map[string]change{"Python": change(*barPython), "bundle": change(*barAssets), "front end": change(*barFront), "elsewhere": change(*barElsewhere)}
	} else {
		c.repositories = c.fixtures()
	}
	for what, change := range changes {
		c.changed[what] = change.in(c.apps)
	}
	if c.registry, err = registry.Serve(t.Context(), filepath.Join(t.TempDir(), "registry")); err != nil {
		t.Fatal(err)
	}
	defer c.registry.Close()
	if c.github, err = github.Start(context.WithoutCancel(t.Context()), github.Options{Root: c.repositories, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	defer c.github.Close()

	theirs := c.theirs()
	ours := c.ours()
	c.compare(ours, theirs)
	t.Log("\n" + c.table())
}

// fixtures are the fixture apps' repositories, all public, with a branch for
// each change.
func (c *contest) fixtures() string {
	c.t.Helper()
	root := filepath.Join(c.t.TempDir(), "repositories")
	repositories, err := apps.Write(c.t.Context(), root)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range c.apps {
		c.apps[i].Private = false
	}
	for app, edit := range map[string]struct{ ref, branch, file, line string }{
		"de_customs": {"v0.0.5", "bars-python", "de_customs/reports.py", "CHANGED = True"},
		"payments":   {"version-15", "bars-elsewhere", "payments/hooks.py", "changed = True"},
		"erpnext":    {"v15.1.0", "bars-assets", "erpnext/public/js/erpnext-web.bundle.js", "console.log('changed');"},
		"hrms":       {"v15.1.0", "bars-front", "frontend/src/main.js", "console.log('changed');"},
	} {
		at := slices.IndexFunc(repositories, func(r apps.Repository) bool { return r.Name == app })
		bare := filepath.Join(root, repositories[at].Owner, app+".git")
		commitLine(c.t, bare, edit.ref, edit.branch, edit.file, edit.line)
	}
	return root
}

// world starts an engine with an empty cache, with the tools and base images
// that there are already, and a GitHub.
func (c *contest) world(name string) *sandbox.World {
	c.t.Helper()
	usual, err := localengine.DefaultCacheDir()
	if err != nil {
		c.t.Fatal(err)
	}
	// The tools and base images have to be there before they are borrowed.
	first, err := sandbox.Start(c.t.Context(), sandbox.Options{CacheDir: usual, Name: name, NoHost: true, Repositories: c.repositories})
	if errors.Is(err, debian.ErrUnsupported) && os.Getenv("CI") != "true" {
		c.t.Skip(err)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if err := first.Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	cache, err := os.MkdirTemp("", "bars-")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = os.RemoveAll(cache) })
	if err := os.MkdirAll(filepath.Join(cache, "engine"), 0o700); err != nil {
		c.t.Fatal(err)
	}
	for _, shared := range []string{"tools", "engine/images"} {
		if err := os.Symlink(filepath.Join(usual, shared), filepath.Join(cache, shared)); err != nil {
			c.t.Fatal(err)
		}
	}
	world, err := sandbox.Start(c.t.Context(), sandbox.Options{CacheDir: cache, Name: name, NoHost: true, Repositories: c.repositories})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := world.Close(context.Background()); err != nil {
			c.t.Error(err)
		}
	})
	return world
}

// result is what one way of building took.
type result struct {
	took map[string]time.Duration
	// cold is the image of the first build, and python that with one app's
	// Python changed.
	cold, python v1.Image
}

const (
	coldCase      = "everything cold, to the pushed digest"
	unchangedCase = "nothing changed"
	elsewhereCase = "empty engine, stages in the registry, one app changed"
	resolveCase   = "resolving the Python packages of all apps, warm"
)

// theirs builds the one-step way.
func (c *contest) theirs() result {
	c.t.Helper()
	r := result{took: map[string]time.Duration{}}
	world := c.world("bars")
	build := func(selection apps.Selection, salt string) v1.Image {
		options := baseline.Options{
			Client: world.Client, Python: "3.11.6", Node: "18.18.2", Salt: salt,
			Address: c.registry.Address() + "/baseline:" + strings.ReplaceAll(salt, " ", "-"),
		}
		for _, app := range selection {
			options.Apps = append(options.Apps, baseline.App{URL: c.github.URL() + "/" + app.Owner + "/" + app.Name, Ref: app.Ref, Token: secret.Secret{}})
		}
		start := time.Now()
		reference, err := baseline.Build(c.t.Context(), options)
		if err != nil {
			c.t.Fatal(err)
		}
		r.took[salt] = time.Since(start)
		c.t.Logf("one step, %s: %.1f s", salt, r.took[salt].Seconds())
		return c.image(reference)
	}
	r.cold = build(c.apps, "cold")
	// Whatever changes, bench init runs again: one figure stands for all.
	r.python = build(c.changed["Python"], "change")
	if err := world.Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// ours builds with the program, as a user would.
func (c *contest) ours() result {
	c.t.Helper()
	r := result{took: map[string]time.Duration{}}
	world := c.world("bars")
	version := 0
	build := func(label string, selection apps.Selection, more ...string) v1.Image {
		version++
		reference, took := c.push(world, selection, fmt.Sprintf("1.0.%d", version), more...)
		r.took[label] = took
		c.t.Logf("stages, %s: %.1f s", label, took.Seconds())
		return c.image(reference)
	}
	r.cold = build(coldCase, c.apps)
	r.python = build("Python", c.changed["Python"])
	build("bundle", c.changed["bundle"])
	build("front end", c.changed["front end"])
	build(unchangedCase, c.apps)
	r.took[resolveCase] = c.resolving(world)
	if err := world.Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	world = c.world("bars")
	build(elsewhereCase, c.changed["elsewhere"])
	if *barReproduce {
		c.reproduce(world, r.cold)
	}
	if err := world.Close(context.Background()); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// reproduce builds the first image once more, on another engine and with a
// registry that has none of its stages: it must be the same.
func (c *contest) reproduce(world *sandbox.World, first v1.Image) {
	c.t.Helper()
	usual := c.registry
	defer func() { c.registry = usual }()
	var err error
	if c.registry, err = registry.Serve(c.t.Context(), filepath.Join(c.t.TempDir(), "registry")); err != nil {
		c.t.Fatal(err)
	}
	defer c.registry.Close()
	reference, took := c.push(world, c.apps, "1.0.1")
	c.t.Logf("stages, without the registry's: %.1f s", took.Seconds())
	again := c.image(reference)
	want, have := c.layers(first), c.layers(again)
	for i := range want {
		if want[i] != have[i] {
			c.t.Errorf("the same lock gives another layer: %s, was %s", have[i], want[i])
		}
	}
}

// layers are an image's layers with what its history says of them.
func (c *contest) layers(image v1.Image) []string {
	c.t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		c.t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		c.t.Fatal(err)
	}
	var list []string
	for i, layer := range manifest.Layers {
		list = append(list, config.History[i].CreatedBy+" "+layer.Digest.String())
	}
	return append(list, "configuration "+manifest.Config.Digest.String())
}

// push runs the program and gives the time until the digest was pushed.
func (c *contest) push(world *sandbox.World, selection apps.Selection, version string, more ...string) (string, time.Duration) {
	c.t.Helper()
	environ, err := world.Environment()
	if err != nil {
		c.t.Fatal(err)
	}
	list, err := selection.AppsJSON(c.github.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(world.Dir, "apps.json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		c.t.Fatal(err)
	}
	var out bytes.Buffer
	errs := &noting{text: `"pushed"`}
	start := time.Now()
	args := append([]string{"push", "--skip-smoke-test", "--env-file", "", "--version", version, "--apps", file}, more...)
	if code := cli.Run(c.t.Context(), args, append(environ, "REGISTRY="+c.registry.Address(), "GITHUB_API_URL="+c.github.APIURL()), strings.NewReader(""), &out, errs); code != 0 {
		c.t.Fatalf("exit %d\n%s", code, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, `"took"`) && !strings.Contains(line, `"cached":true`) {
			c.t.Log(strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(out.String()), errs.at.Sub(start)
}

// resolving has the packages resolved once more on a warm engine: a plan does
// that and nothing else on it.
func (c *contest) resolving(world *sandbox.World) time.Duration {
	c.t.Helper()
	environ, err := world.Environment()
	if err != nil {
		c.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	start := time.Now()
	args := []string{"plan", "--upgrade-packages=click", "--env-file", "", "--version", "2.0.0", "--apps", filepath.Join(world.Dir, "apps.json")}
	if code := cli.Run(c.t.Context(), args, append(environ, "REGISTRY="+c.registry.Address(), "GITHUB_API_URL="+c.github.APIURL()), strings.NewReader(""), &out, &errs); code != 0 {
		c.t.Fatalf("exit %d\n%s", code, errs.String())
	}
	if !strings.Contains(errs.String(), `"packages"`) {
		c.t.Fatalf("nothing was resolved:\n%s", errs.String())
	}
	return time.Since(start)
}

// noting is a writer that notes when a text first came by.
type noting struct {
	mutex sync.Mutex
	bytes.Buffer
	text string
	at   time.Time
}

func (n *noting) Write(p []byte) (int, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.at.IsZero() && bytes.Contains(p, []byte(n.text)) {
		n.at = time.Now()
	}
	return n.Buffer.Write(p)
}

// image gives a pushed image by what a build printed.
func (c *contest) image(printed string) v1.Image {
	c.t.Helper()
	base, digest, _ := strings.Cut(printed, "@")
	tag, err := name.NewTag(base)
	if err != nil {
		c.t.Fatal(err)
	}
	image, err := remote.Image(tag.Context().Digest(digest), remote.WithContext(c.t.Context()))
	if err != nil {
		c.t.Fatal(err)
	}
	return image
}

// sizes gives the compressed layers of an image by digest, and those above its
// base: the bench.
func (c *contest) sizes(image v1.Image, below int) (layers map[string]int64, whole, bench int64) {
	c.t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		c.t.Fatal(err)
	}
	layers = map[string]int64{}
	for i, layer := range manifest.Layers {
		layers[layer.Digest.String()] = layer.Size
		whole += layer.Size
		if i >= below {
			bench += layer.Size
		}
	}
	return layers, whole, bench
}

// compare holds both against each other and the bars.
func (c *contest) compare(ours, theirs result) {
	c.t.Helper()
	fail := func(bad bool, what, format string, args ...any) {
		c.rows = append(c.rows, append([]string{what}, fmt.Sprintf(format, args...)))
		if bad {
			c.t.Errorf("%s: %s", what, fmt.Sprintf(format, args...))
		}
	}
	times := func(what string, mine, other time.Duration, bar float64) {
		ratio := other.Seconds() / mine.Seconds()
		fail(ratio < bar, what, "%.1f s\t%.1f s\t%.1f times\tat least %g", other.Seconds(), mine.Seconds(), ratio, bar)
	}
	times(coldCase, ours.took[coldCase], theirs.took["cold"], c.bars.cold)
	times("one app, Python only, warm", ours.took["Python"], theirs.took["change"], c.bars.python)
	times("one app, its bundle changed, warm", ours.took["bundle"], theirs.took["change"], c.bars.bundle)
	times("one app, its own front end changed, warm", ours.took["front end"], theirs.took["change"], c.bars.front)
	times(elsewhereCase, ours.took[elsewhereCase], theirs.took["cold"], c.bars.elsewhere)
	under := func(what string, took, bar time.Duration) {
		fail(took > bar, what, "-\t%.2f s\t\tunder %v", took.Seconds(), bar)
	}
	under(unchangedCase, ours.took[unchangedCase], c.bars.unchanged)
	under(resolveCase, ours.took[resolveCase], c.bars.resolve)

	manifest, err := theirs.cold.Manifest()
	if err != nil {
		c.t.Fatal(err)
	}
	before, mine, myBench := c.sizes(ours.cold, 2)
	_, other, otherBench := c.sizes(theirs.cold, len(manifest.Layers)-1)
	share := func(what string, mine, other int64, bar float64) {
		part := float64(mine) / float64(other)
		fail(part > bar, what, "%.1f MB\t%.1f MB\t%.1f %%\tat most %g %%", float64(other)/1e6, float64(mine)/1e6, 100*part, 100*bar)
	}
	share("size of the bench, compressed", myBench, otherBench, c.bars.bench)
	share("size of the image, compressed", mine, other, c.bars.image)
	after, _, _ := c.sizes(ours.python, 2)
	var pulled int64
	for digest := range maps.Keys(after) {
		if before[digest] == 0 {
			pulled += after[digest]
		}
	}
	fail(float64(pulled) > 0.05*float64(mine), "the host pulls when one app changed", "%.1f MB\t%.2f MB\t%.2f %% of the image\tat most 5 %%", float64(otherBench)/1e6, float64(pulled)/1e6, 100*float64(pulled)/float64(mine))
}

func (c *contest) table() string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tone step\tstages\tratio\tbar")
	for _, row := range c.rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
	return b.String()
}
