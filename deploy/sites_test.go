//go:build unix

package deploy

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
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

const verb = "sys.argv[1:]) "

// TestFirstReleaseOverABench: a bench that ran before is closed and backed up
// before new code serves it.
func TestFirstReleaseOverABench(t *testing.T) {
	short(t)
	m := newMachine(t)
	record := m.mustRelease("1.0.0")
	at := m.order(" up --detach --no-build --pull never --no-deps db", verb+"fit ", verb+"close ", verb+"dump ", "--remove-orphans", " backend", "--site erp.example.com migrate")
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
	m.when("size", "-- size  other.example.com", `printf '1 1\nother.example.com\n'; exit`)
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
		m.when("size", "-- size  erp.example.com shut.example.com", `printf '1 1\nerp.example.com\n'; exit`)
		m.when("modes", verb+"maintenance get erp.example.com shut.example.com", `echo '{"erp.example.com": null, "shut.example.com": 1}'; exit`)
		m.when("serving", verb+"serving erp.example.com shut.example.com", "echo erp.example.com; exit")
		m.when("close", verb+"close erp.example.com shut.example.com", "echo 0; exit")
		m.when("tables", verb+"tables shut.example.com", "echo 1; exit")
		m.when("dump", verb+"dump shut.example.com", `printf '%s' "$DUMP" | gzip; exit`)
		before := len(m.calls())
		record, _, err := m.releaseBy(t.Context(), strategy, "1.0.1")
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
	m.when("size", "-- size  erp.example.com two.example.com", `printf '1 1\nerp.example.com two.example.com\n'; exit`)
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
	m.when("size", "-- size  erp.example.com", `printf '204800 1\nerp.example.com\n'; exit`)
	_, _, err := m.release(t.Context(), "1.0.1")
	if err == nil || !strings.Contains(err.Error(), "a backup may need 200 KiB in "+filepath.Join(m.dir, "backups")+", and 100 KiB are free") {
		t.Fatal(err)
	}
}

// TestClosedSwapIsUndone: what was stopped to end the jobs is stopped still when the
// old containers come up again, and is not waited for.
func TestClosedSwapIsUndone(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	// Web runs; workers and the scheduler are stopped.
	m.when("containers", "com.docker.compose.project.config_files", "echo id1 "+m.dir+"/releases/1.0.0/compose-main.yaml; exit")
	m.when("health", "inspect --format {{.ID}}|", `printf 'id1|backend|running|healthy|0|0\nid2|queue-short|exited||0|0\nid3|scheduler|exited||0|0\n'; exit`)
	m.failsToMigrate(Swap)
}

// TestCacheIsEmptied: before the servers of an older release start, what newer ones have
// left in the cache is gone, and they leave nothing there any more. The server of the
// cache runs by then.
func TestCacheIsEmptied(t *testing.T) {
	short(t)
	for strategy, want := range map[string][]string{
		Cycle: {"--site erp.example.com migrate", " up --detach --no-build --pull never --no-deps db", verb + "flush", "--remove-orphans --wait"},
		Swap:  {"--site erp.example.com migrate", "stop id9", verb + "flush", "start id1"},
	} {
		t.Run(strategy, func(t *testing.T) {
			m := newMachine(t)
			m.mustRelease("1.0.0")
			if strategy == Swap {
				at := m.dir + "/releases/"
				m.when("containers", "com.docker.compose.project.config_files", "echo id1 "+at+"1.0.0/compose-main.yaml; echo id9 "+at+"1.0.1/compose-main.yaml; exit")
			}
			before := len(m.calls())
			m.failsToMigrate(strategy)
			left := m.calls()[before:]
			for _, text := range want {
				at := slices.IndexFunc(left, func(call string) bool { return strings.Contains(call, text) })
				if at < 0 {
					t.Fatalf("%q does not come where it should in\n%s", text, strings.Join(m.calls()[before:], "\n"))
				}
				left = left[at+1:]
			}
		})
	}
}

// TestBrokenSite: one that does not answer before a release is named, and keeps the
// others from nothing.
func TestBrokenSite(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("containers", "status=running", "echo id1 "+m.dir+"/releases/1.0.0/compose-main.yaml; exit")
	for _, verbAndSites := range []string{"bench_sites", "serving erp.example.com broken.example.com"} {
		m.when(strings.Fields(verbAndSites)[0], verb+verbAndSites, "printf 'erp.example.com\nbroken.example.com\n'; exit")
	}
	m.when("size", "-- size  erp.example.com broken.example.com", `printf '1 1\nerp.example.com broken.example.com\n'; exit`)
	m.when("tables", verb+"tables broken.example.com", "echo 1; exit")
	m.when("dump", verb+"dump broken.example.com", `printf '%s' "$DUMP" | gzip; exit`)
	m.when("mute", verb+"mute ", "echo broken.example.com 500; exit")
	m.when("answers", verb+"answers erp.example.com broken.example.com", "exit 1")
	before := len(m.calls())
	_, events, err := m.release(t.Context(), "1.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e Event) bool {
		return e.Kind == Noted && e.Text == "warning: broken.example.com answers with 500 before this release"
	}) {
		t.Error("it is not named")
	}
	if text := strings.Join(m.calls()[before:], "\n"); !strings.Contains(text, "--site broken.example.com migrate") {
		t.Error("it is not migrated")
	}
}

// TestEverySavedRowStays: what was written while sites were open for a moment is in
// a dump of its own each time.
func TestEverySavedRowStays(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("open", "48080 200  erp.example.com", "exit 1")
	m.when("load", verb+"load ", "exit 1")
	_, _, err := m.release(t.Context(), "1.0.1")
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != NeedsPerson {
		t.Fatal(err)
	}
	m.when("load", verb+"load ", "exit")
	runs, err := filepath.Glob(filepath.Join(m.dir, "runs", "*-1.0.1-*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v, %v", runs, err)
	}
	resume := exec.Command("sh", filepath.Join(runs[0], "runner"), "resume")
	resume.Env = m.env()
	if out, err := resume.CombinedOutput(); err == nil {
		t.Errorf("a release that can't be opened is live:\n%s", out)
	}
	for _, name := range []string{"after-erp.example.com-database.sql.gz", "after-2-erp.example.com-database.sql.gz"} {
		if _, err := os.Stat(filepath.Join(m.dir, "backups", filepath.Base(runs[0]), name)); err != nil {
			t.Error(err)
		}
	}
}

// TestFilesThatAreReplacedAreSaved: bringing files back puts them in the place of
// others, which nothing else has.
func TestFilesThatAreReplacedAreSaved(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	run := m.mustRelease("1.0.1").Run
	if err := os.WriteFile(filepath.Join(m.dir, "backups", run, "erp.example.com-files.tar"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.when("size", "-- size yes erp.example.com", `printf '1 1\nerp.example.com\n'; exit`)
	m.when("pack", verb+"pack ", "tar --create --file=- --files-from=/dev/null; exit")
	state, err := Inspect(t.Context(), m, m.target())
	if err != nil {
		t.Fatal(err)
	}
	plan, report := PlanRollback(state, m.target(), "1.0.0", true)
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	before := len(m.calls())
	if _, _, err := m.carryOut(t.Context(), plan, release.Image{}); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(m.calls()[before:], "\n")
	pack, unpack := strings.Index(text, verb+"pack erp.example.com"), strings.Index(text, verb+"unpack erp.example.com")
	if pack < 0 || unpack < pack {
		t.Errorf("packed at %d, unpacked at %d:\n%s", pack, unpack, text)
	}
}

// TestWhatStaysIsNotStopped: services that a release has the same stay as they are;
// what else there is was brought up with the set of the release before, and is taken
// down. A proxy that looks up only once where it leads to is started again in the end.
func TestWhatStaysIsNotStopped(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("quiet", "ps --all --quiet --filter label", "echo stays; exit")
	m.when("fresh", "inspect --format {{.State.Running}} {{.Image}}", "echo true sum name; exit")
	m.when("id", "image inspect --format {{.Id}} name", "echo sum; exit")
	m.when("project", `{{.ID}} {{.Label "com.docker.compose.service"}} {{.Label`, "printf 'stays db False\\ngoes backend False\\n'; exit")
	m.when("port", "port stays", "echo 80/tcp; exit")
	before := len(m.calls())
	if _, _, err := m.release(t.Context(), "1.0.1"); err != nil {
		t.Fatal(err)
	}
	calls := m.calls()[before:]
	for _, call := range calls {
		if (strings.HasPrefix(call, "stop ") || strings.HasPrefix(call, "rm ")) && strings.Contains(call, "stays") || strings.Contains(call, " down --remove-orphans") {
			t.Errorf("docker %s", call)
		}
	}
	at := m.order("rm --force goes", "restart stays")
	if slices.Contains(at, -1) || !slices.IsSorted(at) {
		t.Errorf("in the order %v", at)
	}

	// Where nothing stays, the set that is taken down is the one that runs.
	m.when("fresh", "inspect --format {{.State.Running}} {{.Image}}", "echo false; exit")
	before = len(m.calls())
	if _, _, err := m.release(t.Context(), "1.0.2"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.calls()[before:], func(call string) bool {
		return strings.Contains(call, "releases/1.0.1/") && strings.Contains(call, " down --remove-orphans")
	}) {
		t.Error("what runs is not taken down with its own set")
	}
}
