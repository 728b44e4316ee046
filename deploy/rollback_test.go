//go:build unix

package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// rollback goes back, from a look at the host to the end.
func (m *machine) rollback(version string, data bool) (release.Record, []Event, error) {
	m.t.Helper()
	state, err := Inspect(m.t.Context(), m, m.target())
	if err != nil {
		m.t.Fatal(err)
	}
	plan, report := PlanRollback(state, m.target(), version, data)
	if len(report) > 0 {
		m.t.Fatal(report.Err())
	}
	return m.carryOut(m.t.Context(), plan, release.Image{})
}

func TestRollback(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	second := m.mustRelease("1.0.1")
	if age := time.Since(second.BackupAt); age < 0 || age > time.Hour {
		t.Errorf("the backup is from %v", second.BackupAt)
	}
	before := len(m.calls())

	record, _, err := m.rollback("", true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := stepNames(record), "check-release pull check compare measure-downtime keep-assets drain maintenance drain-rest backup down up restore verify open record workers await-workers end-measuring"; got != want {
		t.Errorf("steps:\n got %s\nwant %s", got, want)
	}
	if record.Version != "1.0.0" || record.Previous != "1.0.1" || !record.Rollback || record.RestoredFrom != second.Run || m.current() != "releases/1.0.0" {
		t.Errorf("current %q, record %+v", m.current(), record)
	}
	loads := slices.DeleteFunc(m.calls()[before:], func(call string) bool { return !strings.HasSuffix(call, " load erp.example.com 1") })
	if len(loads) != 1 || m.read("loaded") != dumped {
		t.Errorf("loaded %d times, at last %q", len(loads), m.read("loaded"))
	}
	// Its number is the newest, or the proxy would not lead there.
	env, err := os.ReadFile(filepath.Join(m.dir, "releases/1.0.0/.env"))
	if err != nil || !strings.Contains(string(env), "\nRELEASE='3'\n") {
		t.Errorf("%v: .env\n%s", err, env)
	}
	history, _, err := History(t.Context(), m, m.target())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range history {
		lines = append(lines, fmt.Sprintf("%s over %s, rollback %v", r.Version, r.Previous, r.Rollback))
	}
	if got, want := strings.Join(lines, "; "), "1.0.0 over 1.0.1, rollback true; 1.0.1 over 1.0.0, rollback false; 1.0.0 over , rollback false"; got != want {
		t.Errorf("history: %s", got)
	}
	if state, err := Inspect(t.Context(), m, m.target()); err != nil || !slices.Equal(state.OnlyCopies, []string{record.Run}) {
		t.Errorf("%v: only copies %v, want that of the rollback", err, state.OnlyCopies)
	}
	// From there everything goes on as ever.
	if third := m.mustRelease("1.0.2"); third.Previous != "1.0.0" {
		t.Errorf("the next release replaced %q", third.Previous)
	}
}

func TestRollbackFails(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.mustRelease("1.0.1")
	m.when("fail", "/releases/1.0.0/.env up ", "exit 1")
	_, _, err := m.rollback("1.0.0", false)
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != RolledBack || m.current() != "releases/1.0.1" {
		t.Fatalf("current %q: %v", m.current(), err)
	}
	for _, want := range []string{"the rollback to 1.0.0 did not succeed: step up failed", "site: 1.0.1 is live again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestPlanRollbackProblems(t *testing.T) {
	releases := []release.Record{
		{Version: "1.0.1", Previous: "1.0.0", Run: "000002-1.0.1-abcd", Sites: []string{"erp.example.com"}},
		{Version: "1.0.0", Run: "000001-1.0.0-abcd", Sites: []string{"erp.example.com"}},
	}
	state := State{Docker: "26.0.0", Compose: "2.30.0", DockerFree: -1, Free: -1, Current: &releases[0], history: releases,
		Releases: []string{"1.0.0", "1.0.1"}, images: map[string]string{"1.0.1": "erp@sha256:2"}}
	target := (&machine{dir: "/srv/erp"}).target()
	for _, tc := range []struct {
		name, version string
		data          bool
		change        func(*State)
		want          []string
	}{
		{name: "its image is gone, and its backup", data: true, want: []string{"rollback.image", "rollback.backup"}},
		{name: "what is live", version: "1.0.1", want: []string{"rollback.live"}},
		{name: "never there", version: "0.9", want: []string{"rollback.unknown"}},
		{name: "nothing before", change: func(s *State) { s.Current = &releases[1] }, want: []string{"rollback.first"}},
		{name: "nothing live", change: func(s *State) { s.Current = nil }, want: []string{"rollback.nothing-live"}},
		{name: "all well", data: true, change: func(s *State) {
			s.images, s.Backups = map[string]string{"1.0.0": "erp@sha256:1", "1.0.1": "erp@sha256:2"}, []string{"000002-1.0.1-abcd"}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := state
			if tc.change != nil {
				tc.change(&s)
			}
			_, report := PlanRollback(s, target, tc.version, tc.data)
			var codes []string
			for _, p := range report {
				codes = append(codes, p.Code)
				if p.Remedy == "" {
					t.Errorf("%v has no remedy", p)
				}
			}
			if !slices.Equal(codes, tc.want) {
				t.Errorf("problems: %v", report)
			}
		})
	}
}

func TestUnneeded(t *testing.T) {
	var history []release.Record
	for n := 6; n >= 1; n-- {
		r := release.Record{Version: fmt.Sprintf("1.0.%d", n), Run: fmt.Sprintf("%06d-1.0.%d-abcd", n, n)}
		if n > 1 {
			r.Previous = fmt.Sprintf("1.0.%d", n-1)
		}
		history = append(history, r)
	}
	s := State{Current: &history[0], history: history, images: map[string]string{"1.0.1": "a", "1.0.3": "b", "1.0.4": "c", "1.0.5": "d", "1.0.6": "e"},
		Backups: []string{"000002-1.0.2-abcd", "000003-1.0.3-abcd", "000004-1.0.4-abcd", "000005-1.0.5-abcd", "000006-1.0.6-abcd", "000007-1.0.7-fail"}}
	for _, tc := range []struct {
		live              string
		keep              int
		versions, backups string
	}{
		// The backup that 1.0.4 took is the one of 1.0.3.
		{"1.0.6", 3, "1.0.1", "000002-1.0.2-abcd 000003-1.0.3-abcd"},
		{"1.0.6", 1, "1.0.1 1.0.3 1.0.4", "000002-1.0.2-abcd 000003-1.0.3-abcd 000004-1.0.4-abcd 000005-1.0.5-abcd"},
		{"1.0.7", 3, "1.0.1 1.0.3", "000002-1.0.2-abcd 000003-1.0.3-abcd 000004-1.0.4-abcd"},
		{"1.0.7", 10, "", ""},
	} {
		u := s.unneeded(tc.live, tc.keep)
		if got := strings.Join(u.Versions, " "); got != tc.versions {
			t.Errorf("%s, %d before it: images of %q, want %q", tc.live, tc.keep, got, tc.versions)
		}
		if got := strings.Join(u.Backups, " "); got != tc.backups {
			t.Errorf("%s, %d before it: backups %q, want %q", tc.live, tc.keep, got, tc.backups)
		}
	}
}

// TestNotBeside: a swap neither goes on from a release whose set mixes releases
// up, nor back to one.
func TestNotBeside(t *testing.T) {
	short(t)
	m := newMachine(t)
	text, err := os.ReadFile("compose/compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	mixed := filepath.Join(t.TempDir(), "mixed.yaml")
	if err := os.WriteFile(mixed, bytes.ReplaceAll(text, []byte("backend-${RELEASE:-1}"), []byte("backend")), 0o600); err != nil {
		t.Fatal(err)
	}
	inspect := func(files ...string) (State, Target) {
		state, err := Inspect(t.Context(), m, m.target())
		if err != nil {
			t.Fatal(err)
		}
		target := m.target()
		target.ComposeFiles = append(files, target.ComposeFiles...)[:1]
		return state, target
	}
	state, target := inspect(mixed)
	plan, report := MakePlan(t.Context(), state, target, lockOf("1.0.0"))
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	if _, _, err := m.carryOut(t.Context(), plan, testImage); err != nil {
		t.Fatal(err)
	}
	state, target = inspect()
	target.Strategy = Swap
	_, onward := MakePlan(t.Context(), state, target, lockOf("1.0.1"))
	m.mustRelease("1.0.1")
	state, _ = inspect()
	_, back := PlanRollback(state, target, "", false)
	for name, report := range map[string]problem.Report{"onward": onward, "back": back} {
		if len(report) != 1 || report[0].Code != "deploy.not-beside" || !strings.Contains(report[0].Error(), "release 1.0.0: no other release can run beside it: ") || !strings.Contains(report[0].Detail, "BACKEND of service frontend is the same in every release") {
			t.Errorf("%s: %v", name, report)
		}
	}
	target.Strategy = Cycle
	if _, report := PlanRollback(state, target, "", false); len(report) > 0 {
		t.Errorf("by cycle: %v", report)
	}
}
