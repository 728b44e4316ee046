//go:build unix

package deploy

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// order returns where each text is first in what docker was called with; -1 where
// it is not.
func (m *machine) order(texts ...string) []int {
	var at []int
	for _, text := range texts {
		at = append(at, slices.IndexFunc(m.calls(), func(call string) bool { return strings.Contains(call, text) }))
	}
	return at
}

const verb = "sys.argv[2:]) "

// TestFirstReleaseOverABench: a bench that ran before is closed and backed up
// before new code serves it.
func TestFirstReleaseOverABench(t *testing.T) {
	short(t)
	m := newMachine(t)
	record := m.mustRelease("1.0.0")
	at := m.order(" up --detach --no-build --pull never db", verb+"fit ", verb+"close ", verb+"dump ", "--remove-orphans", " backend", "--site erp.example.com migrate")
	at = slices.Delete(at, 5, 6)
	if slices.Contains(at, -1) || !slices.IsSorted(at) {
		t.Errorf("in the order %v:\n%s", at, strings.Join(m.calls(), "\n"))
	}
	if strings.Join(record.Sites, " ") != "erp.example.com" {
		t.Errorf("the record names the sites %q", record.Sites)
	}
}

// TestFirstReleaseOfOtherSites: a site beside those that are there would be a slip.
func TestFirstReleaseOfOtherSites(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.when("sites", verb+"bench_sites", "echo other.example.com; exit")
	m.when("size", verb+"size  other.example.com", "echo 1 1; exit")
	_, _, err := m.release(t.Context(), "1.0.0")
	if err == nil || !strings.Contains(err.Error(), "the bench has the sites other.example.com, and not erp.example.com") {
		t.Fatal(err)
	}
	if at := m.order("--remove-orphans"); at[0] >= 0 && m.current() != "" {
		t.Error("it is live all the same")
	}
}

// TestEverySiteOfTheBench: found by asking the bench, whichever sites are named.
// One that was closed stays so.
func TestEverySiteOfTheBench(t *testing.T) {
	short(t)
	for _, strategy := range []string{Cycle, Swap} {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("sites", verb+"bench_sites", "printf 'erp.example.com\\nshut.example.com\\n'; exit")
		m.when("size", verb+"size  erp.example.com shut.example.com", "echo 1 1; exit")
		m.when("modes", verb+"maintenance get erp.example.com shut.example.com", `echo '{"erp.example.com": null, "shut.example.com": 1}'; exit`)
		m.when("serving", verb+"serving erp.example.com shut.example.com", "echo erp.example.com; exit")
		m.when("close", verb+"close erp.example.com shut.example.com", "echo 0; exit")
		m.when("tables", verb+"tables shut.example.com", "echo 1; exit")
		m.when("dump", verb+"dump shut.example.com", `printf '%s' "$DUMP" | gzip; exit`)
		before := len(m.calls())
		state, err := Inspect(t.Context(), m, m.target())
		if err != nil {
			t.Fatal(err)
		}
		target := m.target()
		target.Strategy = strategy
		plan, report := MakePlan(t.Context(), state, target, lockOf("1.0.1"))
		if len(report) > 0 {
			t.Fatal(report.Err())
		}
		record, _, err := m.carryOut(t.Context(), plan, testImage)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(record.Sites, " ") != "erp.example.com shut.example.com" {
			t.Errorf("%s: the record names the sites %q", strategy, record.Sites)
		}
		text := strings.Join(m.calls()[before:], "\n")
		for _, want := range []string{
			verb + "fit erp.example.com shut.example.com", verb + "close erp.example.com shut.example.com",
			verb + "end_sessions erp.example.com shut.example.com", verb + "dump erp.example.com", verb + "dump shut.example.com",
			"--site erp.example.com migrate", "--site shut.example.com migrate",
			verb + `put_back {"erp.example.com": null, "shut.example.com": 1}`,
			verb + "answers erp.example.com shut.example.com",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: without %q", strategy, want)
			}
		}
	}
}

// TestOnlyBegunSitesAreRestored: those whose migration never began have their data.
func TestOnlyBegunSitesAreRestored(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("sites", verb+"bench_sites", "printf 'erp.example.com\\ntwo.example.com\\n'; exit")
	m.when("size", verb+"size  erp.example.com two.example.com", "echo 1 1; exit")
	m.when("close", verb+"close ", "echo 0; exit")
	m.when("tables", verb+"tables two.example.com", "echo 1; exit")
	m.when("dump", verb+"dump two.example.com", `printf '%s' "$DUMP" | gzip; exit`)
	m.when("patch", "--site erp.example.com migrate", "exit 1")
	before := len(m.calls())
	if _, _, err := m.release(t.Context(), "1.0.1"); err == nil {
		t.Fatal("a migration that failed is live")
	}
	text := strings.Join(m.calls()[before:], "\n")
	if !strings.Contains(text, verb+"load erp.example.com 1") || strings.Contains(text, verb+"load two.example.com") {
		t.Errorf("put back:\n%s", text)
	}
}

// TestFailedBackupLeavesNothing: a disk that is full gets its room back.
func TestFailedBackupLeavesNothing(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("dump", verb+"dump ", "echo half; exit 1")
	_, _, err := m.release(t.Context(), "1.0.1")
	if err == nil || !strings.Contains(err.Error(), "step backup failed") {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(m.dir, "backups", "*-1.0.1-*", "*.part")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRoomForBackups: it is asked for where the backups will lie, and files count
// whole.
func TestRoomForBackups(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.write("df", "#!/bin/sh\ncase $2 in */backups) free=100 ;; *) free=99999999 ;; esac\nprintf 'Filesystem 1K-blocks Used Available Capacity Mounted\\nx 1 1 %s 1%% /\\n' \"$free\"\n", 0o755)
	m.when("size", verb+"size  erp.example.com", "echo 204800 1; exit")
	_, _, err := m.release(t.Context(), "1.0.1")
	if err == nil || !strings.Contains(err.Error(), "a backup may need 200 KiB in "+filepath.Join(m.dir, "backups")+", and 100 KiB are free") {
		t.Fatal(err)
	}
}
