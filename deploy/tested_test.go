//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// untested has a run wait for the smoke test of its image. waits is called as soon as it
// does, with what docker was called with until then, and has a second.
func untested(m *machine, tested chan release.Image, waits func(run string, calls []string)) func(*Deployer) {
	return func(d *Deployer) {
		d.Tested = tested
		observe := d.Observe
		d.Observe = func(e Event) {
			observe(e)
			if e.Kind == StepBegan && e.Step == AwaitSmokeTest {
				time.Sleep(time.Second)
				runs, _ := filepath.Glob(filepath.Join(m.dir, "runs", "*-1.0.1-*"))
				waits(runs[0], m.calls())
			}
		}
	}
}

// TestAwaitSmokeTest: nothing that runs is changed before the image has passed, and
// nothing of one that does not pass stays.
func TestAwaitSmokeTest(t *testing.T) {
	short(t)
	changes := regexp.MustCompile(`^(stop|rm|start|restart|kill|run --detach)\b|^compose .* (up|down|stop|start|rm) |sys\.argv\[1:\]\) (close|maintenance) `)
	const remove = "image rm desired/erp:1.0.1 registry.example/desired/erp@sha256:"
	for name, test := range map[string]struct {
		// test is how the smoke test ends.
		test       func(t *testing.T, tested chan release.Image, cancel func(), run string)
		want       string
		is         error
		strategies []string
		quiet      time.Duration
	}{
		"passes": {strategies: []string{Cycle, Swap}, test: func(_ *testing.T, tested chan release.Image, _ func(), _ string) {
			image := testImage
			image.Tag, image.SmokeTest = "1.0.1", "smoke-tested at noon"
			tested <- image
		}},
		"fails":                    {strategies: []string{Swap}, test: func(_ *testing.T, _ chan release.Image, cancel func(), _ string) { cancel() }, is: ErrInterrupted, want: "interrupted"},
		"is not heard of any more": {strategies: []string{Cycle}, quiet: time.Second, test: func(*testing.T, chan release.Image, func(), string) {}, want: "nothing has been heard of the smoke test"},
	} {
		for _, strategy := range test.strategies {
			t.Run(name+", "+strategy, func(t *testing.T) {
				if test.quiet != 0 {
					defer func(usual time.Duration) { quietLimit = usual }(quietLimit)
					quietLimit = test.quiet
				}
				m := newMachine(t)
				m.mustRelease("1.0.0")
				before := len(m.calls())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				tested := make(chan release.Image, 1)
				record, _, err := m.releaseBy(ctx, strategy, "1.0.1", untested(m, tested, func(run string, calls []string) {
					for _, call := range calls[before:] {
						if changes.MatchString(call) {
							t.Errorf("docker %s, before the image passed", call)
						}
					}
					test.test(t, tested, cancel, run)
				}))
				removed := slices.ContainsFunc(m.calls(), func(call string) bool { return strings.HasPrefix(call, remove) })
				if test.want == "" {
					if err != nil || m.current() != "releases/1.0.1" || record.Image.SmokeTest != "smoke-tested at noon" || removed {
						t.Fatalf("%v; current is %s, the record %+v, removed: %v", err, m.current(), record.Image, removed)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("got %v", err)
				}
				if _, err := os.Stat(filepath.Join(m.dir, "releases", "1.0.1")); err == nil || m.current() != "releases/1.0.0" || !removed {
					t.Errorf("the release is there: %v, current is %s, the image was removed: %v", err == nil, m.current(), removed)
				}
			})
		}
	}
}

// TestEndsBeforeTested: a run that fails does not wait for the smoke test.
func TestEndsBeforeTested(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("fit", verb+"fit ", "echo no; exit 1")
	_, _, err := m.releaseBy(t.Context(), Cycle, "1.0.1", untested(m, make(chan release.Image), func(string, []string) {
		t.Error("it waits")
	}))
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != NothingChanged || failed.Step != "check" {
		t.Errorf("got %v", err)
	}
}
