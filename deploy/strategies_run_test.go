//go:build unix

package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// TestEveryStrategyRuns carries out every strategy to its end; once more with a
// failure at the last step that is undone, so that every script that does or
// undoes something runs; and once more with one that fails when the release is
// live, which undoes nothing.
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
		fail     string // arguments of docker at which a step fails when the release is live
		step     string // that step
		said     string // by the hook
	}{
		{"first", "", false, "run(sys.argv[1:]) workers", "await-workers", "release cycle -1.0.0 " + testImage.Pinned()},
		{"cycle", Cycle, false, "run(sys.argv[1:]) workers", "await-workers", "release cycle 1.0.0-1.0.1 " + testImage.Pinned()},
		{"swap", Swap, false, "run(sys.argv[1:]) forget_assets", "retire", "release swap 1.0.0-1.0.1 " + testImage.Pinned()},
		{"rollback by cycle", Cycle, true, "run(sys.argv[1:]) workers", "await-workers", "rollback cycle 1.0.1-1.0.0 " + testImage.Pinned()},
		{"rollback by swap", Swap, true, "run(sys.argv[1:]) forget_assets", "retire", "rollback swap 1.0.1-1.0.0 " + testImage.Pinned()},
	} {
		for _, ends := range []string{"", "undone", "with a warning"} {
			t.Run(strings.TrimSuffix(tc.name+", "+ends, ", "), func(t *testing.T) {
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
				switch ends {
				case "undone":
					m.when("fail", "48080 200  erp.example.com", `[ -e "$DOCKER_STATE/failed" ] || { touch "$DOCKER_STATE/failed"; exit 1; }`)
				case "with a warning":
					m.write("sleep", "#!/bin/sh\n", 0o755) // between attempts
					m.when("fail", tc.fail, "exit 1")
				}
				record, events, err := m.carryOut(t.Context(), plan, image)
				if !slices.ContainsFunc(events, func(e Event) bool { return e.Text == tc.said }) {
					t.Errorf("the hook did not say %q", tc.said)
				}
				if !tc.rollback && !slices.ContainsFunc(events, func(e Event) bool {
					return e.Kind == Noted && e.Text == "warning: the hook after-migrate ended with 7"
				}) {
					t.Error("a hook that failed after its step is no warning")
				}
				for _, e := range events {
					if strings.Contains(e.Text, "not found") {
						t.Errorf("step %s: %s", e.Step, e.Text)
					}
				}
				if ends != "undone" {
					// What the operator has to know comes with a success as well.
					if !tc.rollback && !slices.Contains(record.Notes, "the hook after-migrate ended with 7") {
						t.Errorf("notes: %q", record.Notes)
					}
					var names []string
					for _, s := range plan.Steps {
						if ends == "" || s.Name != tc.step {
							names = append(names, s.Name)
						}
					}
					if err != nil || stepNames(record) != strings.Join(names, " ") || m.current() != "releases/"+record.Version {
						t.Errorf("%v: current %q, steps %s, planned %s", err, m.current(), stepNames(record), strings.Join(names, " "))
					}
					m.warned(record, events, ends != "", tc.step)
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

// warned checks that a step that failed while the release was live is a warning
// wherever it is asked for, after it was tried again.
func (m *machine) warned(record release.Record, events []Event, want bool, step string) {
	m.t.Helper()
	shown := slices.IndexFunc(events, func(e Event) bool { return e.Kind == Warned })
	if !want {
		if shown >= 0 || len(record.Warnings) > 0 {
			m.t.Errorf("warnings %+v", record.Warnings)
		}
		return
	}
	state, err := Inspect(m.t.Context(), m, m.target())
	if err != nil || state.LastRun.Status != RunDone || state.Lock != nil {
		m.t.Fatalf("%v: %+v", err, state.LastRun)
	}
	for _, r := range []release.Record{record, state.history[0]} {
		if len(r.Warnings) != 1 || r.Warnings[0].Step != step || r.Warnings[0].Exit != 1 || r.Warnings[0].Remedy != remedyFor(step) {
			m.t.Errorf("warnings %+v, want one of step %s", r.Warnings, step)
		}
	}
	if shown < 0 || events[shown].Step != step || events[shown].Text == "" {
		m.t.Errorf("it is not said that step %s failed", step)
	}
	again := 0
	for _, e := range events {
		if e.Step == step && strings.Contains(e.Text, "is tried again in") {
			again++
		}
		if e.Kind == UndoBegan {
			m.t.Errorf("step %s was undone", e.Step)
		}
	}
	if again != 2 {
		m.t.Errorf("it was tried again %d times", again)
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
	m.write("sleep", "#!/bin/sh\n", 0o755) // between attempts
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
	record, events, err := m.carryOut(t.Context(), plan, image)
	if err != nil || m.current() != "releases/1.0.3" {
		t.Errorf("%v, and %s is current", err, m.current())
	}
	m.warned(record, events, true, "prune")

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

// TestOneScheduler: where the scheduler of the release before can't be removed,
// or it can't be known whether it was, the new one is not started.
func TestOneScheduler(t *testing.T) {
	short(t)
	for name, do := range map[string]string{
		"it stays":               `echo "0ld $OLD/compose-main.yaml"`,
		"Docker does not answer": `exit 1`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write("sleep", "#!/bin/sh\n", 0o755) // between attempts
			m.mustRelease("1.0.0")
			target := m.target()
			target.Strategy = Swap
			plan, report := MakePlan(t.Context(), m.inspect(), target, lockOf("1.0.1"))
			if len(report) > 0 {
				t.Fatal(report.Err())
			}
			asked := "ps --all --no-trunc --filter label=com.docker.compose.service=scheduler"
			m.when("scheduler", asked, fmt.Sprintf(`[ "$(readlink "%[1]s/current")" = releases/1.0.1 ] && { %[2]s; exit; }`, m.dir,
				strings.ReplaceAll(do, "$OLD", filepath.Join(m.dir, "releases/1.0.0"))))
			image := testImage
			image.Tag = "1.0.1"
			before := len(m.calls())
			record, _, err := m.carryOut(t.Context(), plan, image)
			if err != nil || m.current() != "releases/1.0.1" {
				t.Fatalf("%v, and %s is current", err, m.current())
			}
			if !slices.ContainsFunc(record.Warnings, func(w release.Warning) bool { return w.Step == "workers" }) {
				t.Errorf("warnings %+v", record.Warnings)
			}
			for _, call := range m.calls()[before:] {
				if strings.Contains(call, " up ") && strings.Contains(call, "scheduler") {
					t.Errorf("a second scheduler: %s", call)
				}
			}
		})
	}
}
