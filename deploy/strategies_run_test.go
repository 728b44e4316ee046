//go:build unix

package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// TestEveryStrategyRuns carries out every strategy to its end, and once more
// with a failure at its last steps, so that every script that does or undoes
// something runs.
func TestEveryStrategyRuns(t *testing.T) {
	short(t)
	hooks := []Hook{
		{Name: "before-deploy", Data: []byte("#!/bin/sh\necho \"$RELEASE_KIND $RELEASE_STRATEGY $RELEASE_PREVIOUS-$RELEASE_VERSION $RELEASE_IMAGE\"\n")},
		{Name: "before-rollback", Data: []byte("#!/bin/sh\necho \"$RELEASE_KIND $RELEASE_STRATEGY $RELEASE_PREVIOUS-$RELEASE_VERSION $RELEASE_IMAGE\"\n")},
		{Name: "after-migrate", Data: []byte("#!/bin/sh\nexit 7\n")},
	}
	for _, tc := range []struct {
		name     string
		strategy string
		rollback bool
		fail     string // arguments of docker at which the run fails
		said     string // by the hook
	}{
		{"first", "", false, "(*sys.argv[2:]) workers", "release cycle -1.0.0 " + testImage.Pinned()},
		{"cycle", Cycle, false, "(*sys.argv[2:]) workers", "release cycle 1.0.0-1.0.1 " + testImage.Pinned()},
		{"swap", Swap, false, "(*sys.argv[2:]) forget_assets", "release swap 1.0.0-1.0.1 " + testImage.Pinned()},
		{"rollback by cycle", Cycle, true, "(*sys.argv[2:]) workers", "rollback cycle 1.0.1-1.0.0 " + testImage.Pinned()},
		{"rollback by swap", Swap, true, "(*sys.argv[2:]) forget_assets", "rollback swap 1.0.1-1.0.0 " + testImage.Pinned()},
	} {
		for _, fails := range []bool{false, true} {
			name := tc.name
			if fails {
				name += ", undone"
			}
			t.Run(name, func(t *testing.T) {
				m := newMachine(t)
				version := "1.0.0"
				if tc.name != "first" {
					m.mustRelease("1.0.0")
					version = "1.0.1"
				}
				if tc.rollback {
					m.mustRelease("1.0.1")
				}
				before := m.current()
				state, err := Inspect(t.Context(), m, m.target())
				if err != nil {
					t.Fatal(err)
				}
				target := m.target()
				target.Strategy, target.Hooks = tc.strategy, hooks
				plan, report := MakePlan(t.Context(), state, target, lockOf(version))
				image := testImage
				if tc.rollback {
					image = release.Image{}
					plan, report = PlanRollback(state, target, "", true)
				}
				if len(report) > 0 {
					t.Fatal(report.Err())
				}
				if fails {
					m.when("fail", tc.fail, "exit 1")
				}
				record, events, err := m.carryOut(t.Context(), plan, image)
				if !slices.ContainsFunc(events, func(e Event) bool { return e.Text == tc.said }) {
					t.Errorf("the hook did not say %q", tc.said)
				}
				if !tc.rollback && !slices.ContainsFunc(events, func(e Event) bool {
					return e.Kind == Warning && e.Text == "warning: the hook after-migrate ended with 7"
				}) {
					t.Error("a hook that failed after its step is no warning")
				}
				for _, e := range events {
					if strings.Contains(e.Text, "not found") {
						t.Errorf("step %s: %s", e.Step, e.Text)
					}
				}
				if !fails {
					// What the operator has to know comes with a success as well.
					if !tc.rollback && !slices.Equal(record.Warnings, []string{"the hook after-migrate ended with 7"}) {
						t.Errorf("warnings: %q", record.Warnings)
					}
					var names []string
					for _, s := range plan.Steps {
						names = append(names, s.Name)
					}
					if err != nil || stepNames(record) != strings.Join(names, " ") || m.current() != "releases/"+record.Version {
						t.Errorf("%v: current %q, steps %s, planned %s", err, m.current(), stepNames(record), strings.Join(names, " "))
					}
					return
				}
				var failed *FailedError
				if !errors.As(err, &failed) || failed.State != RolledBack || m.current() != before {
					t.Fatalf("current %q, %v", m.current(), err)
				}
				// All that was begun and can be undone is, newest first.
				var undone, want []string
				for _, e := range events {
					if e.Kind == UndoEnded && e.Exit == 0 {
						undone = append(undone, e.Step)
					}
				}
				for _, s := range plan.Steps {
					if s.Undo != "" {
						want = slices.Insert(want, 0, s.Name)
					}
					if s.Name == failed.Step {
						break
					}
				}
				if !slices.Equal(undone, want) {
					t.Errorf("undone %v, want %v", undone, want)
				}
			})
		}
	}
}

// TestPruneRuns: what no rollback needs goes, but not an image that another
// release has too.
func TestPruneRuns(t *testing.T) {
	short(t)
	m := newMachine(t)
	for _, version := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		m.mustRelease(version)
	}
	state, err := Inspect(t.Context(), m, m.target())
	if err != nil {
		t.Fatal(err)
	}
	target := m.target()
	target.KeepReleases = 1
	plan, report := PlanPrune(state, target, false)
	if len(report) > 0 || strings.Join(plan.Unneeded.Versions, " ") != "1.0.0" || len(plan.Unneeded.Backups) != 2 {
		t.Fatalf("%v, unneeded %+v", report, plan.Unneeded)
	}
	before := len(m.calls())
	_, events, err := m.carryOut(t.Context(), plan, release.Image{})
	if err != nil {
		t.Fatal(err)
	}
	removed := slices.DeleteFunc(m.calls()[before:], func(call string) bool { return !strings.HasPrefix(call, "image rm ") })
	if !slices.Equal(removed, []string{"image rm desired/erp:1.0.0"}) {
		t.Errorf("removed %q", removed)
	}
	for _, run := range plan.Unneeded.Backups {
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Text == "backup of run "+run+" removed" }) {
			t.Errorf("it is not said that the backup of run %s went", run)
		}
	}
	if state, err = Inspect(t.Context(), m, target); err != nil || len(state.Backups) != 1 {
		t.Errorf("%v, backups %v", err, state.Backups)
	}
}

// TestPruneKeepsOnlyCopies: dumps of what was written before a release was put
// back go by request alone, also where they came after the plan.
func TestPruneKeepsOnlyCopies(t *testing.T) {
	short(t)
	m := newMachine(t)
	var runs []string
	for _, version := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		runs = append(runs, m.mustRelease(version).Run)
	}
	target := m.target()
	target.KeepReleases = 1
	after := func(run string) string {
		return filepath.Join(m.dir, "backups", run, "after-erp.example.com-database.sql.gz")
	}
	prune := func(onlyCopies bool, late string) ([]string, []Event) {
		state, err := Inspect(t.Context(), m, target)
		if err != nil {
			t.Fatal(err)
		}
		plan, report := PlanPrune(state, target, onlyCopies)
		if len(report) > 0 {
			t.Fatal(report.Err())
		}
		if late != "" {
			if err := os.WriteFile(after(late), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, events, err := m.carryOut(t.Context(), plan, release.Image{})
		if err != nil {
			t.Fatal(err)
		}
		return state.OnlyCopies, events
	}
	// Three releases, of which one before the live one can be gone back to.
	if err := os.WriteFile(after(runs[0]), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	only, events := prune(false, runs[1])
	if !slices.Equal(only, runs[:1]) {
		t.Errorf("only copies: %v, want %v", only, runs[:1])
	}
	if !slices.ContainsFunc(events, func(e Event) bool { return strings.HasPrefix(e.Text, "backup of run "+runs[1]+" stays") }) {
		t.Errorf("it is not said that a backup stays: %v", events)
	}
	for i, there := range []bool{true, true, true} {
		if _, err := os.Stat(filepath.Join(m.dir, "backups", runs[i])); (err == nil) != there {
			t.Errorf("backup of %s: %v", runs[i], err)
		}
	}
	prune(true, "")
	for i, there := range []bool{false, false, true} {
		if _, err := os.Stat(filepath.Join(m.dir, "backups", runs[i])); (err == nil) != there {
			t.Errorf("by request, backup of %s: %v", runs[i], err)
		}
	}
}

// TestPruneFails: what can't be removed undoes no release, but is the failure of
// a prune.
func TestPruneFails(t *testing.T) {
	short(t)
	m := newMachine(t)
	for _, version := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		m.mustRelease(version)
	}
	m.write("paste", "#!/bin/sh\nexit 1\n", 0o755)
	target := m.target()
	target.KeepReleases = 1
	state, err := Inspect(t.Context(), m, target)
	if err != nil {
		t.Fatal(err)
	}
	plan, report := MakePlan(t.Context(), state, target, lockOf("1.0.3"))
	if len(report) > 0 || plan.Steps[len(plan.Steps)-1].Name != "prune" {
		t.Fatalf("%v, steps %v", report, plan.Steps)
	}
	image := testImage
	image.Tag = "1.0.3"
	_, events, err := m.carryOut(t.Context(), plan, image)
	if err != nil || m.current() != "releases/1.0.3" {
		t.Errorf("%v, and %s is current", err, m.current())
	}
	if !slices.ContainsFunc(events, func(e Event) bool { return strings.HasPrefix(e.Text, "warning: not everything") }) {
		t.Error("it is not said that something was left")
	}

	if state, err = Inspect(t.Context(), m, target); err != nil {
		t.Fatal(err)
	}
	plan, report = PlanPrune(state, target, false)
	if len(report) > 0 || plan.Unneeded.Empty() {
		t.Fatalf("%v, unneeded %+v", report, plan.Unneeded)
	}
	var failed *FailedError
	if _, _, err := m.carryOut(t.Context(), plan, release.Image{}); !errors.As(err, &failed) || failed.Step != "prune" {
		t.Errorf("got %v", err)
	}
}
