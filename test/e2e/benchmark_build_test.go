package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/baseline"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

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

// oneStep builds the one-step way.
func (b *benchmark) oneStep() result {
	b.t.Helper()
	r := result{took: map[string]time.Duration{}}
	world := emptyEngine(b.t, b.repositories)
	build := func(selection apps.Selection, salt string) v1.Image {
		options := baseline.Options{
			Client: world.Client, Python: "3.11.6", Node: "18.18.2", Salt: salt, Address: b.registry.Address() + "/baseline:" + salt,
		}
		for _, app := range selection {
			options.Apps = append(options.Apps, baseline.App{URL: b.github.URL() + "/" + app.Owner + "/" + app.Name, Ref: app.Ref, Token: secret.Secret{}})
		}
		start := time.Now()
		reference, err := baseline.Build(b.t.Context(), options)
		if err != nil {
			b.t.Fatal(err)
		}
		r.took[salt] = time.Since(start)
		b.t.Logf("one step, %s: %.1f s", salt, r.took[salt].Seconds())
		return b.image(reference)
	}
	r.cold = build(b.apps, "cold")
	// Whatever changes, bench init runs again: one figure stands for all.
	r.python = build(b.changed["Python"], "change")
	if err := world.Close(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// stages builds with the program, as a user would.
func (b *benchmark) stages() result {
	b.t.Helper()
	r := result{took: map[string]time.Duration{}}
	world := emptyEngine(b.t, b.repositories)
	version := 0
	build := func(what string, selection apps.Selection) v1.Image {
		version++
		reference, _, took := b.push(world, b.registry, selection, fmt.Sprintf("1.0.%d", version))
		r.took[what] = took
		b.t.Logf("stages, %s: %.1f s", what, took.Seconds())
		return b.image(reference)
	}
	r.cold = build(coldCase, b.apps)
	r.python = build("Python", b.changed["Python"])
	build("bundle", b.changed["bundle"])
	build("front end", b.changed["front end"])
	build(unchangedCase, b.apps)
	r.took[resolveCase] = b.resolving(world)
	if err := world.Close(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	world = emptyEngine(b.t, b.repositories)
	build(elsewhereCase, b.changed["elsewhere"])
	return r
}

// push runs the program and returns the reference that it printed, what it said of
// the stages that it built, and the time until the digest was pushed.
func (b *benchmark) push(world *sandbox.World, to *registry.Embedded, selection apps.Selection, version string) (reference string, built []string, took time.Duration) {
	b.t.Helper()
	list, err := selection.AppsJSON(b.github.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(world.Dir, "apps.json"), list, 0o644); err != nil {
		b.t.Fatal(err)
	}
	start := time.Now()
	out, log := b.program(world, to, "push", "--skip-smoke-test", "--version", version)
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"took"`) && !strings.Contains(line, `"cached":true`) {
			b.t.Log(strings.TrimSpace(line))
			built = append(built, strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(out), built, log.at.Sub(start)
}

// resolving has the packages resolved once more on a warm engine: a plan does
// that and nothing else on it.
func (b *benchmark) resolving(world *sandbox.World) time.Duration {
	b.t.Helper()
	start := time.Now()
	if _, log := b.program(world, b.registry, "plan", "--upgrade-packages=click", "--version", "2.0.0"); !strings.Contains(log.String(), `"packages"`) {
		b.t.Fatalf("nothing was resolved:\n%s", log.String())
	}
	return time.Since(start)
}

// program runs the program with the apps.json of the world, and returns what it
// printed.
func (b *benchmark) program(world *sandbox.World, to *registry.Embedded, args ...string) (string, *noting) {
	b.t.Helper()
	environ, err := world.Environment()
	if err != nil {
		b.t.Fatal(err)
	}
	environ = append(environ, "REGISTRY="+to.Address(), "GITHUB_API_URL="+b.github.APIURL())
	args = append(args, "--env-file", "", "--apps", filepath.Join(world.Dir, "apps.json"))
	var out bytes.Buffer
	log := &noting{text: `"pushed"`}
	if code := cli.Run(b.t.Context(), args, environ, strings.NewReader(""), &out, log); code != 0 {
		b.t.Fatalf("exit %d\n%s", code, log.String())
	}
	return out.String(), log
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
