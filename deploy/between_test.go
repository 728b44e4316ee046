//go:build unix

package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// TestCameBetween: what was planned before another run is refused, whatever
// became of that run.
func TestCameBetween(t *testing.T) {
	short(t)
	for _, ends := range []string{"done", "undone", "held"} {
		t.Run(ends, func(t *testing.T) {
			m := newMachine(t)
			m.write("sleep", "#!/bin/sh\n", 0o755)
			m.mustRelease("1.0.0")
			m.mustRelease("1.0.1")
			state := m.inspect()
			plans := map[string]Plan{}
			var report [3]problem.Report
			target := m.target()
			target.KeepReleases = 1
			plans["release"], report[0] = MakePlan(t.Context(), state, m.target(), lockOf("1.0.3"))
			plans["rollback"], report[1] = PlanRollback(state, m.target(), "", false)
			plans["prune"], report[2] = PlanPrune(state, target, false)
			for _, one := range report {
				if len(one) > 0 {
					t.Fatal(one.Err())
				}
			}
			if ends != "done" {
				m.when("fail", "erp.example.com migrate", "exit 1")
			}
			if ends == "held" {
				m.when("load", " load erp.example.com", "exit 1")
			}
			if _, _, err := m.release(t.Context(), "1.0.2"); (err == nil) != (ends == "done") {
				t.Fatalf("got %v", err)
			}
			last := m.inspect().LastRun
			if string(last.Status) != ends {
				t.Fatalf("the run between is %s", last.Status)
			}
			before := len(m.calls())
			for kind, plan := range plans {
				image := testImage
				image.Tag = plan.Version
				_, _, err := m.carryOut(t.Context(), plan, image)
				var failed *FailedError
				if !errors.As(err, &failed) || failed.State != NothingChanged ||
					!strings.Contains(err.Error(), "the host refused it: run "+last.ID+" of ann@laptop came between: plan again") {
					t.Errorf("%s: %v", kind, err)
				}
			}
			for _, call := range m.calls()[before:] {
				if !strings.HasPrefix(call, "pull ") && !strings.HasPrefix(call, "--config") {
					t.Errorf("docker was called: %s", call)
				}
			}
			if got := m.inspect(); got.LastRun.ID != last.ID || got.Lock != nil {
				t.Errorf("last run %+v, lock %+v", got.LastRun, got.Lock)
			}
		})
	}
}

// TestTornFiles: a file of one release or run that is not whole is named, and
// the rest is read.
func TestTornFiles(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.mustRelease("1.0.1")
	state := m.inspect()
	first, second := filepath.Join("runs", state.history[1].Run), filepath.Join("runs", state.history[0].Run)
	for _, tc := range []struct {
		name, file, text string
		unreadable       bool
		versions         string // those that are on record
		problems         string // in the way of the next release
	}{
		{"a record that is cut off", "releases/1.0.0/release.json", `{"version": "1.0`, true, "1.0.1", ""},
		{"an empty record", "releases/1.0.0/release.json", "", true, "1.0.1", ""},
		{"the record of what is live", "releases/1.0.1/release.json", "{", true, "1.0.0", "deploy.record-unreadable"},
		{"a journal with torn lines", first + "/journal", "2026-11-23T23:00:00Z 1.00 run-begin start 1 b\n2026-11\n2026-11-23T23:00:00Z 1.00 run-end done\n", false, "1.0.1 1.0.0", ""},
		{"an empty journal", first + "/journal", "", false, "1.0.1 1.0.0", ""},
		{"a journal of garbage", first + "/journal", "\x00\x00\x00@end\n", true, "1.0.1 1.0.0", ""},
		{"the last journal, with a torn line", second + "/journal", "2026-11-23T23:00:00Z 1.00 run-begin start 1 b\n2026-11-23T23:0\n2026-11-23T23:00:00Z 1.00 run-end done\n2026-11", false, "1.0.1 1.0.0", ""},
		{"the last journal, of garbage", second + "/journal", "\x00\x00\x00\n", true, "1.0.1 1.0.0", "deploy.run-interrupted"},
		{"the runner of the last run", second + "/runner", "case", false, "1.0.1 1.0.0", ""},
		{"an empty lock", "lock", "", true, "1.0.1 1.0.0", "deploy.lock-left"},
		{"a lock of garbage", "lock", "\x00\x00", true, "1.0.1 1.0.0", "deploy.lock-left"},
		{"a watch of garbage", first + "/watch", "\x00\x00 1 x\n", false, "1.0.1 1.0.0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(m.dir, tc.file)
			before, err := os.ReadFile(file)
			if err != nil {
				defer os.Remove(file)
			} else {
				defer func() { _ = os.WriteFile(file, before, 0o600) }()
			}
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			state := m.inspect()
			if slices.Contains(state.Unreadable, tc.file) != tc.unreadable {
				t.Errorf("unreadable: %q", state.Unreadable)
			}
			var versions []string
			for _, r := range state.history {
				versions = append(versions, r.Version)
			}
			if got := strings.Join(versions, " "); got != tc.versions {
				t.Errorf("on record: %s, want %s", got, tc.versions)
			}
			_, report := MakePlan(t.Context(), state, m.target(), lockOf("1.0.2"))
			var codes []string
			for _, p := range report {
				codes = append(codes, p.Code)
			}
			if got := strings.Join(codes, " "); got != tc.problems {
				t.Errorf("problems: %v", report)
			}
			if _, err := FindLive(t.Context(), m, m.target()); err != nil {
				t.Errorf("the live release: %v", err)
			}
			if strings.HasPrefix(tc.file, "releases/") {
				version := strings.Split(tc.file, "/")[1]
				if _, err := Show(t.Context(), m, m.target(), version); err == nil || !strings.Contains(err.Error(), "can't be read") {
					t.Errorf("show: %v", err)
				}
			}
			if tc.file == "lock" {
				if err := Unlock(t.Context(), m, m.target(), state.Lock.Run); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(file); err == nil {
					t.Error("the lock is left")
				}
			}
		})
	}
	// Settings that are cut off end the run that they belong to, with a reason.
	id := filepath.Base(second)
	out, err := m.Run(t.Context(), []string{"sh", "-c", `cd "$1" && printf 'dir=x\n' >settings && sh ./*-pull.do`, "sh", filepath.Join(m.dir, second)}, host.Options{})
	if err == nil || !strings.Contains(out.Stderr, "settings of this run is not whole") {
		t.Errorf("settings of %s: %v: %s", id, err, out.Stderr)
	}
	if record := m.mustRelease("1.0.2"); record.Version != "1.0.2" {
		t.Errorf("%+v", record)
	}
}
