//go:build unix

package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// story returns a host with a history, told oldest first: "1" is the release of
// 1, "back 1" a rollback to it, "back 1 of 3" one that puts back the data that
// run 3 found. Runs whose word ends with "*" left a backup, and took it at
// minute n of the day.
func story(words ...string) State {
	s := State{Docker: "26.0.0", Compose: "2.30.0", DockerFree: -1, Free: -1, images: map[string]string{}}
	live := ""
	for i, word := range words {
		word, backed := strings.CutSuffix(word, "*")
		parts := strings.Fields(word)
		r := release.Record{Run: fmt.Sprintf("%06d-run", i+1), Previous: live, BackupAt: time.Date(2026, 5, 1, 0, i+1, 0, 0, time.UTC), Sites: []string{"erp.example.com"}, Project: "erp"}
		r.Version, r.Rollback = parts[0], parts[0] == "back"
		if r.Rollback {
			r.Version = parts[1]
		}
		if len(parts) == 4 {
			r.RestoredFrom = fmt.Sprintf("%06s-run", parts[3])
		}
		if backed {
			s.Backups = append(s.Backups, r.Run)
		}
		live = r.Version
		s.Releases, s.images[live] = append(s.Releases, live), "erp@sha256:"+live
		s.history = append([]release.Record{r}, s.history...)
	}
	for i := range s.history {
		if s.history[i].Version == live && !s.history[i].Rollback {
			s.Current = &s.history[i]
		}
	}
	return s
}

// TestLineage holds which way back there is, and whose data it brings.
func TestLineage(t *testing.T) {
	target := (&machine{dir: "/srv/erp"}).target()
	for _, tc := range []struct {
		name    string
		history []string
		back    string
		data    bool
		from    string // the run whose backup it is
		code    string
		texts   []string
	}{
		{name: "to the release before", history: []string{"1", "2*"}, back: "1"},
		{name: "with its data", history: []string{"1", "2*"}, back: "1", data: true, from: "000002-run"},
		{name: "over two releases", history: []string{"1", "2*", "3*"}, back: "1", data: true, from: "000002-run"},
		{name: "live again, and replaced with a backup", history: []string{"1", "2*", "back 1*", "3*"}, back: "1", data: true, from: "000004-run"},
		{name: "live again, and replaced without one", history: []string{"1", "2*", "back 1", "3"}, back: "1", data: true, code: "rollback.backup-older",
			texts: []string{"from 2026-05-01 00:02:00 UTC (run 000002-run)", "live again until 2026-05-01 00:04:00 UTC", "would be lost"}},
		{name: "live again, and its data stay", history: []string{"1", "2*", "back 1", "3"}, back: "1"},
		{name: "the newest backup is gone", history: []string{"1", "2*", "back 1*", "3"}, back: "1", data: true, code: "rollback.backup-older"},
		{name: "there is none", history: []string{"1", "2"}, back: "1", data: true, code: "rollback.backup", texts: []string{"there are none"}},
		{name: "forth again, over data that it migrated", history: []string{"1", "2*", "back 1"}, back: "2"},
		{name: "forth again, over data that were put back", history: []string{"1", "2*", "back 1 of 2*"}, back: "2", code: "rollback.newer",
			texts: []string{"those of 1, as they were before 2 migrated them", "release its apps once more under a new version", "--restore-data"}},
		{name: "forth again, with its own data", history: []string{"1", "2*", "back 1 of 2*"}, back: "2", data: true, from: "000003-run"},
		{name: "forth over a release after", history: []string{"1", "2*", "back 1 of 2*", "3*"}, back: "2", code: "rollback.newer"},
		{name: "back to data of a release, then to a later one", history: []string{"1", "2*", "3*", "back 2 of 3*"}, back: "1"},
		{name: "and to the one that was undone", history: []string{"1", "2*", "3*", "back 2 of 3*"}, back: "3", code: "rollback.newer", texts: []string{"those of 2"}},
		{name: "put back twice", history: []string{"1", "2*", "back 1 of 2*", "back 2 of 3*"}, back: "1", data: true, from: "000004-run"},
		{name: "and forth", history: []string{"1", "2*", "back 1 of 2*", "back 2 of 3*", "back 1*"}, back: "2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plan, report := PlanRollback(story(tc.history...), target, tc.back, tc.data)
			if tc.code == "" {
				if len(report) > 0 || plan.RestoreFrom != tc.from {
					t.Errorf("%v, restores from %q, want %q", report, plan.RestoreFrom, tc.from)
				}
				if stay := "The databases stay as 2 migrated them"; tc.name == "to the release before" && !strings.HasPrefix(plan.Data(), stay) {
					t.Errorf("says of the data: %s", plan.Data())
				}
				if tc.from != "" && plan.RestoreTime.IsZero() {
					t.Error("the time of the backup is not known")
				}
				return
			}
			if len(report) != 1 || report[0].Code != tc.code || report[0].Remedy == "" {
				t.Fatalf("problems: %v, want %s", report, tc.code)
			}
			for _, text := range tc.texts {
				if said := report[0].Detail + " " + report[0].Remedy; !strings.Contains(said, text) {
					t.Errorf("no %q in: %s", text, said)
				}
			}
		})
	}
}

// TestOnlyCopies: what holds rows that are nowhere else goes only by request.
func TestOnlyCopies(t *testing.T) {
	s := story("1", "2*", "3*", "back 2 of 3*", "4*", "5*", "6*")
	s.Backups, s.afterDumps = append(s.Backups, "000001-undone"), []string{"000001-undone"}
	target := (&machine{dir: "/srv/erp"}).target()
	target.KeepReleases = 1
	if got := strings.Join(s.onlyCopies(), " "); got != "000004-run 000001-undone" {
		t.Errorf("only copies: %s", got)
	}
	plan, report := PlanPrune(s, target, false)
	if len(report) > 0 || strings.Join(plan.Unneeded.Backups, " ") != "000002-run 000003-run 000005-run 000006-run" ||
		strings.Join(plan.Unneeded.OnlyCopies, " ") != "000004-run 000001-undone" {
		t.Errorf("%v, unneeded %+v", report, plan.Unneeded)
	}
	// A release at its end removes no more than that.
	release, _ := MakePlan(t.Context(), s, target, lockOf("7.0.0"))
	if slices.Contains(release.Unneeded.Backups, "000004-run") || slices.Contains(release.Unneeded.Backups, "000001-undone") {
		t.Errorf("a release removes %v", release.Unneeded.Backups)
	}
	plan, _ = PlanPrune(s, target, true)
	if strings.Join(plan.Unneeded.Backups, " ") != "000001-undone 000002-run 000003-run 000004-run 000005-run 000006-run" || len(plan.Unneeded.OnlyCopies) != 0 {
		t.Errorf("by request: %+v", plan.Unneeded)
	}
	// One that a rollback needs stays all the same.
	s = story("1", "2*", "back 1 of 2*")
	if plan, _ = PlanPrune(s, target, true); slices.Contains(plan.Unneeded.Backups, "000003-run") {
		t.Errorf("by request, but needed: %+v", plan.Unneeded)
	}
}

// TestDirections: nothing leads down over live data.
func TestDirections(t *testing.T) {
	lock := func(version, frappe, erpnext string) release.Lock {
		return release.Lock{SiteVersion: version, Apps: []release.App{{Name: "frappe", Version: frappe}, {Name: "erpnext", Version: erpnext}}}
	}
	target := (&machine{dir: "/srv/erp"}).target()
	target.ComposeFiles = nil
	for _, tc := range []struct {
		name    string
		history []string
		locks   map[string]release.Lock
		next    release.Lock
		codes   string
		down    string
	}{
		{name: "up", history: []string{"1.1.5"}, locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.70.0", "15.65.1")}, next: lock("1.1.6", "15.74.1", "15.70.2")},
		{name: "the same apps", history: []string{"1.1.5"}, locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.70.0", "15.65.1")}, next: lock("1.1.5-1", "15.70.0", "15.65.1")},
		{name: "a hotfix after a hotfix", history: []string{"1.1.5-2"}, next: lock("1.1.5-1", "", ""), codes: "deploy.version-older"},
		{name: "an older site version", history: []string{"1.1.5"}, next: lock("1.1.4", "", ""), codes: "deploy.version-older"},
		{name: "by number and not by letter", history: []string{"1.1.9"}, next: lock("1.1.10", "", "")},
		{name: "versions without an order", history: []string{"1.1.5"}, next: lock("candidate", "", "")},
		{name: "an older frappe", history: []string{"1.1.5"}, locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.74.1", "15.65.1")}, next: lock("1.1.6", "15.74.0", "15.65.1"), codes: "deploy.app-older"},
		{name: "an app back by a patch", history: []string{"1.1.5"}, locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.74.1", "15.65.2")}, next: lock("1.1.6", "15.74.1", "15.65.1")},
		{name: "an app back by a minor version, and frappe", history: []string{"1.1.5"}, locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.74.1", "15.65.2")}, next: lock("1.1.6", "14.0.0", "15.64.9"),
			codes: "deploy.app-older deploy.app-older", down: "frappe is version 14.0.0, and 1.1.5 migrated the data with 15.74.1; erpnext is version 15.64.9, and 1.1.5 migrated the data with 15.65.2"},
		{name: "over data that a release migrated which is live no more", history: []string{"1.1.5", "1.1.6", "back 1.1.5"},
			locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.70.0", "15.65.1"), "1.1.6": lock("1.1.6", "15.74.1", "15.65.1")}, next: lock("1.1.5-1", "15.70.0", "15.65.2"),
			down: "frappe is version 15.70.0, and 1.1.6 migrated the data with 15.74.1"},
		{name: "over data that were put back", history: []string{"1.1.5", "1.1.6*", "back 1.1.5 of 2"},
			locks: map[string]release.Lock{"1.1.5": lock("1.1.5", "15.70.0", "15.65.1"), "1.1.6": lock("1.1.6", "15.74.1", "15.65.1")}, next: lock("1.1.5-1", "15.70.0", "15.65.2")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := story(tc.history...)
			for i := range s.history {
				s.history[i].Lock = tc.locks[s.history[i].Version]
			}
			plan, report := MakePlan(t.Context(), s, target, tc.next)
			var codes []string
			for _, p := range report {
				if strings.HasPrefix(p.Code, "deploy.version") || strings.HasPrefix(p.Code, "deploy.app") {
					codes = append(codes, p.Code)
				}
			}
			if got := strings.Join(codes, " "); got != tc.codes {
				t.Errorf("problems %s, want %s: %v", got, tc.codes, report)
			}
			if got, _, _ := strings.Cut(plan.migratesDown, ": release newer"); got != tc.down {
				t.Errorf("down: %q, want %q", got, tc.down)
			}
		})
	}
}
