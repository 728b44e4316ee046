//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// TestLockOfNoOne: a lock that a run left that has ended keeps nothing from
// being done; that of a run whose folder is gone is for the operator to take
// away.
func TestLockOfNoOne(t *testing.T) {
	short(t)
	m := newMachine(t)
	r := m.mustRelease("1.0.0")
	lock := filepath.Join(m.dir, "lock")
	leave := func(run string) {
		if err := os.WriteFile(lock, []byte("run="+run+"\npid=1\ntick=1\nboot=earlier\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave(r.Run)
	if s := m.inspect(); s.Lock != nil || s.LastRun.ID != r.Run || s.LastRun.Status != RunDone {
		t.Errorf("lock %+v, last run %+v", s.Lock, s.LastRun)
	}
	m.mustRelease("1.0.1")
	if _, err := os.Stat(lock); err == nil {
		t.Error("the lock is left")
	}

	leave("000009-2.0.0-abcd")
	_, report := MakePlan(t.Context(), m.inspect(), m.target(), lockOf("1.0.2"))
	if len(report) != 1 || report[0].Code != "deploy.lock-left" || report[0].Remedy != "pipeline unlock --force takes the lock away" {
		t.Errorf("a lock of a run that is gone: %v", report)
	}
	if out, err := os.ReadFile(lock); err != nil || !strings.Contains(string(out), "000009-2.0.0-abcd") {
		t.Errorf("it was taken: %v", err)
	}
}

// TestKilledBeforeItBegan: a run whose process is killed before its journal says
// that it began has changed nothing, and is in the way of nothing.
func TestKilledBeforeItBegan(t *testing.T) {
	short(t)
	m := newMachine(t)
	crontab := m.read("crontab")
	m.write("crontab", `#!/bin/sh
[ "$1" = - ] && cat >"$DOCKER_STATE/crontab.txt" && kill -9 "$(sed -n s/^pid=//p "`+m.dir+`/lock")" && exit
exec cat "$DOCKER_STATE/crontab.txt"
`, 0o755)
	_, _, err := m.release(t.Context(), "1.0.0")
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != NothingChanged {
		t.Errorf("got %v", err)
	}
	runs, err := os.ReadDir(filepath.Join(m.dir, "runs"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v: %v", err, runs)
	}
	dir := filepath.Join(m.dir, "runs", runs[0].Name())
	if _, err := os.Stat(filepath.Join(dir, "release")); err == nil {
		t.Error("its secrets are left")
	}
	// As cron does.
	m.write("crontab", crontab, 0o755)
	if !strings.Contains(m.read("crontab.txt"), dir+"/runner' wake") {
		t.Errorf("the crontab:\n%s", m.read("crontab.txt"))
	}
	if _, err := m.Run(t.Context(), []string{"sh", dir + "/runner", "wake"}, host.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "lock")); err == nil || m.read("crontab.txt") != "" {
		t.Errorf("the lock is left, or the crontab:\n%s", m.read("crontab.txt"))
	}
	m.mustRelease("1.0.0")
}

// TestUnlockForcedInterrupted: Ctrl-C leaves nothing half done.
func TestUnlockForcedInterrupted(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
	pids, id := m.processes(), m.inspect().Lock.Run
	m.write("crontab", "#!/bin/sh\ntouch \"$DOCKER_STATE/unlocking\"; sleep 0.5\nexec cat /dev/null\n", 0o755)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(m.path, "unlocking")); err == nil {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := Unlock(ctx, m, m.target(), id); err != nil {
		t.Error(err)
	}
	if s := m.inspect(); s.Lock != nil {
		t.Errorf("lock %+v", s.Lock)
	}
	for _, pid := range pids {
		m.gone(pid)
	}
	m.ended(id)
}

// TestAwaitRunnerUnknown: a runner the number of which did not come back is
// known by the mark of its start.
func TestAwaitRunnerUnknown(t *testing.T) {
	short(t)
	m := newMachine(t)
	log := filepath.Join(m.path, "taken-over")
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	m.write("journal", "", 0o600)
	m.write("taken-over.pid", strconv.Itoa(ended.Process.Pid)+" 1\n", 0o600)
	m.write("taken-over.exit", "10\n", 0o600)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	result, err := m.Run(ctx, script(awaitRunnerScript, m.path, "0", "0", log), host.Options{})
	if err != nil || strings.TrimSpace(result.Stdout) != "10" {
		t.Errorf("%v: %q", err, result.Stdout)
	}
}

// TestTakeOverAfterTheRecord: a run that is cut off as it is recorded is undone
// to the release before, and says so.
func TestTakeOverAfterTheRecord(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	r := m.mustRelease("1.0.1")
	journal := filepath.Join(m.dir, "runs", r.Run, "journal")
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(data), "-record\n")
	if err := os.WriteFile(journal, []byte(before+"-record\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = m.takeOver(t.Context(), "undo")
	var failed *FailedError
	if !errors.As(err, &failed) || failed.Site != "1.0.0 is live again and answers" || m.current() != "releases/1.0.0" {
		t.Errorf("got %v, and %s is current", err, m.current())
	}
}

// TestNextRunWithoutRuns: where the folders of runs were removed, the number of
// the next one still is above those of the releases and backups that are left.
func TestNextRunWithoutRuns(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.mustRelease("1.0.1")
	if err := os.RemoveAll(filepath.Join(m.dir, "runs")); err != nil {
		t.Fatal(err)
	}
	r := m.mustRelease("1.0.2")
	if s := m.inspect(); !strings.HasPrefix(r.Run, "000003-") || s.history[0].Version != "1.0.2" {
		t.Errorf("run %s, and the newest is %s", r.Run, s.history[0].Version)
	}
	if n := (State{Backups: []string{"000007-1.0.0-abcd"}}).nextRun(); n != 8 {
		t.Errorf("after a backup of run 7: %d", n)
	}
}
