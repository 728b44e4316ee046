// Package e2e has the end-to-end tests: a user with a sandbox and the program
// tries one capability after the other. It has tests only.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// user has a sandbox and the program, for one test or subtest.
type user struct {
	t       *testing.T
	world   *sandbox.World
	environ []string
	// printed is everything that the program ever printed to the user.
	printed *syncedBuffer
	turn    *turn
	link    *hostLink
	// https is set where visitors come by https.
	https *tls.Config
}

// turn is the user's share of the machine.
type turn struct {
	// t is the test that holds it, of which others are subtests.
	t    *testing.T
	done func()
}

// in is the same user in another test.
func (u *user) in(t *testing.T) *user {
	other := *u
	other.t, other.link = t, &hostLink{}
	return &other
}

// with is the same user with more in the environment.
func (u *user) with(environ ...string) *user {
	other := *u
	other.environ = append(slices.Clone(u.environ), environ...)
	return &other
}

// subtest is one idea. What earlier ones of its list left, later ones build on.
type subtest[U inTest[U]] struct {
	name string
	run  func(U, *testing.T)
}

type inTest[U any] interface {
	in(t *testing.T) U
	giveWay()
}

// list is a table of contents: its subtests run in this order.
type list[U inTest[U]] []subtest[U]

func (l list[U]) run(u U, t *testing.T) {
	for _, one := range l {
		t.Run(one.name, func(t *testing.T) { one.run(u.in(t), t) })
		u.giveWay()
	}
}

// newUser starts a sandbox with a host for a user, beside other tests that do
// not measure.
func newUser(t *testing.T, options sandbox.Options) *user {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a sandbox: an engine, a registry and a host")
	}
	u := withTurn(t)
	options.Log = enginetest.Log(t).Level(zerolog.InfoLevel)
	u.world = newWorld(t, options)
	environ, err := u.world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	text, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	u.environ = append(environ, "COMPOSE_FILES="+u.write("compose-main.yaml", text))
	u.giveWay()
	return u
}

// withTurn waits until no other test measures. What the user has besides is up
// to the caller.
func withTurn(t *testing.T) *user {
	t.Helper()
	return &user{t: t, printed: &syncedBuffer{}, turn: &turn{t, enginetest.Shared(t)}, link: &hostLink{}}
}

// newWorld starts a sandbox that ends with the test.
func newWorld(t *testing.T, options sandbox.Options) *sandbox.World {
	t.Helper()
	if options.CacheDir == "" {
		options.CacheDir = enginetest.CacheDir(t)
	}
	world, err := sandbox.Start(t.Context(), options)
	debiantest.Require(t, err)
	t.Cleanup(func() {
		if err := world.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return world
}

// alone does what is measured, while no other test does heavy work.
func (u *user) alone(measure func()) {
	u.t.Helper()
	u.turn.done()
	u.turn.done = enginetest.Exclusive(u.turn.t)
	measure()
	u.giveWay()
}

// giveWay lets a test begin that waits to measure.
func (u *user) giveWay() {
	u.t.Helper()
	u.turn.done()
	u.turn.done = enginetest.Shared(u.turn.t)
}

// write writes a file into the sandbox's folder and returns its path.
func (u *user) write(name string, content []byte) string {
	u.t.Helper()
	path := filepath.Join(u.world.Dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		u.t.Fatal(err)
	}
	return path
}

// env returns a value of the user's environment.
func (u *user) env(name string) string {
	for i := len(u.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(u.environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// command returns the arguments of a command that makes a version of apps.
func (u *user) command(name, version string, selection apps.Selection, flags ...string) []string {
	u.t.Helper()
	content, err := selection.AppsJSON(u.world.GitHub.URL())
	if err != nil {
		u.t.Fatal(err)
	}
	return append([]string{name, "--version", version, "--apps", u.write("apps-"+version+".json", content)}, flags...)
}

// run runs the program and returns its exit code and what it printed.
func (u *user) run(args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	return u.piped("", args...)
}

// piped runs the program with an input.
func (u *user) piped(input string, args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	var out, errs bytes.Buffer
	code = u.started(u.t.Context(), strings.NewReader(input), &out, &errs, args...)
	return code, out.String(), errs.String()
}

// started runs the program with streams, without the .env of this folder.
func (u *user) started(ctx context.Context, in io.Reader, out, errs io.Writer, args ...string) int {
	args = slices.Insert(slices.Clone(args), 1, "--env-file", "")
	return cli.Run(ctx, args, u.environ, in, io.MultiWriter(out, u.printed), io.MultiWriter(errs, u.printed))
}

// must runs the program, which has to succeed, and returns its standard output.
func (u *user) must(args ...string) string {
	u.t.Helper()
	code, out, errs := u.run(args...)
	if code != 0 {
		u.t.Fatalf("%q: exit %d\n%s", args, code, errs)
	}
	return out
}

// fails runs the program, which has to fail with an exit code, and looks for
// texts in what it says.
func (u *user) fails(args []string, code int, texts ...string) {
	u.t.Helper()
	got, _, errs := u.run(args...)
	if got != code {
		u.t.Errorf("exit %d, want %d\n%s", got, code, errs)
	}
	u.has(errs, texts...)
}

// has holds that every one of some parts is in a text.
func (u *user) has(text string, parts ...string) {
	u.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			u.t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

// syncedBuffer is a buffer that is read while it is written.
type syncedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
