package e2e

import (
	"context"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// Flags that have [TestBenchmark] measure other apps than the fixtures.
var (
	repositories    = flag.String("benchmark.repositories", "", "folder of bare repositories OWNER/NAME.git to build in place of the fixture apps; or fixtures")
	appsToBuild     = flag.String("benchmark.apps", "", "OWNER/NAME=REF,… to build, frappe first")
	pythonChange    = flag.String("benchmark.python", "", "NAME=REF: one app with a line of Python changed")
	assetsChange    = flag.String("benchmark.assets", "", "NAME=REF: one app with a line of a bundle changed")
	elsewhereChange = flag.String("benchmark.elsewhere", "", "NAME=REF: one app with another line of Python changed")
	frontChange     = flag.String("benchmark.front", "", "NAME=REF: one app with a line of its own front end changed")
)

// change is one app at another ref, as the flags write it.
type change string

func (c change) in(s apps.Selection) apps.Selection {
	app, ref, _ := strings.Cut(string(c), "=")
	return s.With(app, ref)
}

// limits are what is asked: how many times as fast as the one-step way a build
// has to be, which share of its size an image may have, and how long the rest
// may take.
type limits struct {
	cold, python, bundle, front, elsewhere, bench, image float64
	unchanged, resolve                                   time.Duration
}

// For the fixture apps the one-step way has next to nothing to do.
var (
	limitsOfRealApps = limits{1.5, 30, 10, 8, 5, 0.6, 0.6, time.Second, 3 * time.Second}
	limitsOfFixtures = limits{0.7, 1.2, 1.2, 1.2, 3, 0.8, 0.7, 2 * time.Second, 8 * time.Second}
)

// benchmark is what both ways of building are tried with.
type benchmark struct {
	t            *testing.T
	repositories string
	apps         apps.Selection
	// changed are the selections with one app changed, by what is changed.
	changed map[string]apps.Selection
	// registry is where both push to.
	registry *registry.Embedded
	// github is one for all builds: its address is part of a lock.
	github *github.Server
	limits limits
	rows   [][]string
}

// TestBenchmark compares the build with the one-step way: both on engines of
// the same kind with empty caches, from the same base images and sources, one
// after the other. The limits of real apps are those of docs/benchmarks.md.
func TestBenchmark(t *testing.T) {
	if *repositories == "" {
		t.Skip("measures: set -benchmark.repositories")
	}
	done := enginetest.Shared(t)
	b := newBenchmark(t)
	prepareBaseImages(t)
	done()

	enginetest.Exclusive(t)
	oneStep := b.oneStep()
	b.compare(b.stages(), oneStep)
	t.Log("\n" + b.table())
}

func newBenchmark(t *testing.T) *benchmark {
	t.Helper()
	b := &benchmark{t: t, limits: limitsOfFixtures, changed: map[string]apps.Selection{}, apps: apps.Version1()}
	changes := map[string]change{
		"Python": "de_customs=changed-python", "bundle": "erpnext=changed-assets", "front end": "hrms=changed-front", "elsewhere": "payments=changed-elsewhere",
	}
	var err error
	switch *repositories {
	case "", "fixtures":
		b.repositories = b.fixtures()
	default:
		b.repositories = *repositories
		if b.apps, err = apps.ParseSelection(*appsToBuild); err != nil {
			t.Fatal(err)
		}
		b.limits = limitsOfRealApps
		changes = map[string]change{"Python": change(*pythonChange), "bundle": change(*assetsChange), "front end": change(*frontChange), "elsewhere": change(*elsewhereChange)}
	}
	for what, change := range changes {
		b.changed[what] = change.in(b.apps)
	}
	if b.registry, err = registry.Serve(t.Context(), filepath.Join(t.TempDir(), "registry")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.registry.Close() })
	if b.github, err = github.Start(context.WithoutCancel(t.Context()), github.Options{Root: b.repositories, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.github.Close() })
	return b
}

// fixtures are the fixture apps' repositories, all public, with a branch for
// each change.
func (b *benchmark) fixtures() string {
	b.t.Helper()
	root := filepath.Join(b.t.TempDir(), "repositories")
	written, err := apps.Write(b.t.Context(), root)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range b.apps {
		b.apps[i].Private = false
	}
	for app, edit := range map[string]struct{ ref, branch, file, line string }{
		"de_customs": {"v0.0.5", "changed-python", "de_customs/reports.py", "CHANGED = True"},
		"payments":   {"version-15", "changed-elsewhere", "payments/hooks.py", "changed = True"},
		"erpnext":    {"v15.1.0", "changed-assets", "erpnext/public/js/erpnext-web.bundle.js", "console.log('changed');"},
		"hrms":       {"v15.1.0", "changed-front", "frontend/src/main.js", "console.log('changed');"},
	} {
		at := slices.IndexFunc(written, func(r apps.Repository) bool { return r.Name == app })
		commitLine(b.t, filepath.Join(root, written[at].Owner, app+".git"), edit.ref, edit.branch, edit.file, edit.line)
	}
	return root
}
