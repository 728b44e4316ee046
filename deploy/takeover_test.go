//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// leave releases a version up to a step, at which docker waits, and leaves the
// run to itself. The step is one at which it can't be stopped.
func (m *machine) leave(version, step, call string) {
	m.t.Helper()
	m.when("wait", call, waits)
	ctx, at := interrupt(m.t, step)
	_, _, err := m.release(ctx, version, at, detachAtOnce)
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != NeedsPerson {
		m.t.Fatalf("got %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(m.path, "waiting")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatal("it has not come to the step")
		}
	}
}

// processes are those of the run that has the lock: the runner, and its step.
func (m *machine) processes() []int {
	m.t.Helper()
	var pids []int
	lock, err := os.ReadFile(filepath.Join(m.dir, "lock"))
	if err != nil {
		m.t.Fatal(err)
	}
	id := parseLock(string(lock)).Run
	child, err := os.ReadFile(filepath.Join(m.dir, "runs", id, "child"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, text := range []string{string(lock), string(child)} {
		pids = append(pids, parseLock(text).PID)
	}
	return pids
}

// kill ends the run without a word: its runner, and then its step.
func (m *machine) kill() {
	m.t.Helper()
	for _, pid := range m.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		m.gone(pid)
	}
}

// gone waits until a process has ended.
func (m *machine) gone(pid int) {
	m.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("process %d has not ended", pid)
		}
	}
}

func (m *machine) inspect() State {
	m.t.Helper()
	state, err := Inspect(m.t.Context(), m, m.target())
	if err != nil {
		m.t.Fatal(err)
	}
	return state
}

// takeOver finishes the run that waits.
func (m *machine) takeOver(ctx context.Context, verb string, change ...func(*Deployer)) (release.Record, []Event, error) {
	var events []Event
	d := Deployer{
		Dial:    func(context.Context) (Host, error) { return m, nil },
		Observe: func(e Event) { events = append(events, e) },
	}
	for _, one := range change {
		one(&d)
	}
	record, err := d.TakeOver(ctx, m.inspect(), m.target(), verb)
	return record, events, err
}

// TestTakeOverSettled: a run whose release is live is finished, and never
// undone.
func TestTakeOverSettled(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.leave("1.0.1", "await-workers", "run(sys.argv[1:]) workers")
	m.kill()
	state := m.inspect()
	if state.LastRun.Status != RunInterrupted || !state.LastRun.Settled || state.LastRun.Step != "await-workers" || state.Current.Version != "1.0.1" {
		t.Fatalf("%+v, and %s is live", state.LastRun, state.Current.Version)
	}
	_, report := MakePlan(t.Context(), state, m.target(), lockOf("1.0.2"))
	if len(report) != 1 || report[0].Code != "deploy.lock-left" || strings.Contains(report[0].Remedy, "--undo") {
		t.Errorf("the next release: %v", report)
	}
	if _, _, err := m.takeOver(t.Context(), "undo"); !errors.Is(err, ErrSettled) {
		t.Errorf("undo: %v", err)
	}
	if out, err := m.Run(t.Context(), []string{"sh", filepath.Join(m.dir, "runs", state.LastRun.ID, "runner"), "undo"}, host.Options{}); err == nil || !strings.Contains(out.Stderr, "past the point where it can be undone") {
		t.Errorf("undo by hand: %v: %s", err, out.Stderr)
	}
	m.write("go", "", 0o600)
	record, events, err := m.takeOver(t.Context(), "resume")
	if err != nil || record.Version != "1.0.1" || m.current() != "releases/1.0.1" {
		t.Errorf("%+v, %v", record, err)
	}
	if slices.ContainsFunc(events, func(e Event) bool { return e.Kind == UndoBegan }) {
		t.Error("something was undone")
	}
}

// TestTakeOverInterrupted: Ctrl-C stops no run that is being finished; it is
// followed to its end, unless it comes twice.
func TestTakeOverInterrupted(t *testing.T) {
	short(t)
	for _, verb := range []string{"resume", "undo"} {
		t.Run(verb, func(t *testing.T) {
			m := newMachine(t)
			m.mustRelease("1.0.0")
			m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
			m.kill()
			m.when("wait", map[string]string{"resume": "/releases/1.0.1/.env up ", "undo": "/releases/1.0.0/.env up "}[verb], waits)
			ctx, cancel := context.WithCancel(t.Context())
			began := func(d *Deployer) {
				observe := d.Observe
				d.Observe = func(e Event) {
					observe(e)
					if e.Kind == StepBegan || e.Kind == UndoBegan {
						cancel()
					}
				}
			}
			goOn := onCarryingOn(func(chan<- struct{}) { m.write("go", "", 0o600) })
			_, events, err := m.takeOver(ctx, verb, began, goOn)
			want := "releases/1.0.1"
			var failed *FailedError
			switch {
			case verb == "resume" && err != nil:
				t.Error(err)
			case verb == "undo":
				if want = "releases/1.0.0"; !errors.As(err, &failed) || failed.State != RolledBack {
					t.Errorf("got %v", err)
				}
			}
			if m.current() != want || !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == CarryingOn }) {
				t.Errorf("%s is current, %+v", m.current(), events)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
		m.kill()
		ctx, at := interrupt(t, "up")
		_, _, err := m.takeOver(ctx, "resume", at, detachAtOnce)
		var failed *FailedError
		if !errors.As(err, &failed) || failed.State != NeedsPerson || !strings.Contains(err.Error(), "the host carries on by itself") {
			t.Errorf("got %v", err)
		}
		m.write("go", "", 0o600)
		for m.inspect().Lock != nil {
			time.Sleep(20 * time.Millisecond)
		}
		if m.current() != "releases/1.0.1" {
			t.Errorf("%s is current", m.current())
		}
	})
}

// TestTakeOverRefused: what the runner refuses is said at once.
func TestTakeOverRefused(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
	pids := m.processes()
	_ = syscall.Kill(pids[0], syscall.SIGKILL)
	m.gone(pids[0])
	begun := time.Now()
	_, _, err := m.takeOver(t.Context(), "resume")
	if err == nil || !strings.Contains(err.Error(), "the host refused it: a step of run "+m.inspect().LastRun.ID+" still runs as process "+strconv.Itoa(pids[1])) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > wakeLimit/2 {
		t.Errorf("it took %v", took)
	}
	m.write("go", "", 0o600)
	m.gone(pids[1])
}

// TestUnlockForced ends the run that has the lock, and no other process.
func TestUnlockForced(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
	state := m.inspect()
	id := state.Lock.Run
	if err := Unlock(t.Context(), m, m.target(), "000009-2.0.0-abcd"); err == nil || !strings.Contains(err.Error(), "does not have the deploy lock") {
		t.Errorf("another run: %v", err)
	}
	pids := m.processes()
	if err := Unlock(t.Context(), m, m.target(), id); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		m.gone(pid)
	}
	if m.read("crontab.txt") != "" {
		t.Errorf("it will be woken: %s", m.read("crontab.txt"))
	}
	state = m.inspect()
	if state.Lock != nil || state.LastRun.ID != id || state.LastRun.Status != RunInterrupted {
		t.Errorf("lock %+v, last run %+v", state.Lock, state.LastRun)
	}
	journal, err := os.ReadFile(filepath.Join(m.dir, "runs", id, "journal"))
	if err != nil || strings.Contains(string(journal), "undo") {
		t.Errorf("%v: it undid something:\n%s", err, journal)
	}

	// A lock of a process whose number another one has now.
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	mark := "pid=" + strconv.Itoa(other.Process.Pid) + "\ntick=1\nboot=" + string(boot)
	for name, text := range map[string]string{"lock": "run=" + id + "\n" + mark, "runs/" + id + "/child": mark} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Unlock(t.Context(), m, m.target(), id); err != nil {
		t.Error(err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("another process was ended")
	}
	// What it left is brought to its end all the same.
	m.write("go", "", 0o600)
	if _, _, err := m.takeOver(t.Context(), "resume"); err != nil || m.current() != "releases/1.0.1" {
		t.Errorf("%v, and %s is current", err, m.current())
	}
}

// TestUnlockForcedUnnoted ends what is below the runner, whether it was noted or
// not.
func TestUnlockForcedUnnoted(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.leave("1.0.1", "up", "/releases/1.0.1/.env up ")
	pids, id := m.processes(), m.inspect().Lock.Run
	if err := os.Remove(filepath.Join(m.dir, "runs", id, "child")); err != nil {
		t.Fatal(err)
	}
	if err := Unlock(t.Context(), m, m.target(), id); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		m.gone(pid)
	}
	m.ended(id)
}

// ended waits until the process of a run that was ended has left its exit code,
// the last file that it leaves.
func (m *machine) ended(id string) {
	m.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(m.dir, "runs", id, "log.exit")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatal("its process has left no exit code")
		}
	}
}

// lossy loses the connection when a run is started: before the start reaches
// the host, or after.
type lossy struct {
	*machine
	starts bool
}

func (l lossy) StartDetached(ctx context.Context, argv []string, log string) (host.Job, error) {
	if _, err := os.Stat(log); err == nil {
		return host.Job{}, host.ErrExists
	}
	if l.starts {
		if _, err := l.machine.StartDetached(ctx, argv, log); err != nil {
			return host.Job{}, err
		}
	}
	return host.Job{}, errors.New("connection lost")
}

// TestStartUnknown: where the answer to the start of a run does not come, the
// host is asked.
func TestStartUnknown(t *testing.T) {
	short(t)
	for _, tc := range []struct {
		name            string
		starts, answers bool
		state           HostState // empty where it goes live
	}{
		{"it was started", true, true, ""},
		{"it was not", false, true, NothingChanged},
		{"the host can't be asked", true, false, NeedsPerson},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			dials := 0
			record, _, err := m.release(t.Context(), "1.0.0", func(d *Deployer) {
				d.ReconnectTimeout = 500 * time.Millisecond
				d.Dial = func(context.Context) (Host, error) {
					// The first is the one that is lost, the others are tried in
					// vain until it is asked what became of it.
					if dials++; dials == 1 || tc.answers {
						return lossy{m, tc.starts}, nil
					}
					return nil, errors.New("no route to host")
				}
			})
			if tc.state == "" {
				if err != nil || record.Version != "1.0.0" || m.current() != "releases/1.0.0" {
					t.Errorf("%v: %+v", err, record)
				}
				return
			}
			var failed *FailedError
			if !errors.As(err, &failed) || failed.State != tc.state {
				t.Fatalf("got %v", err)
			}
			if tc.state == NothingChanged {
				if left := m.inspect().runs; len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				return
			}
			for _, text := range []string{"site: not known", "pipeline status", "runner status"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("no %q in: %v", text, err)
				}
			}
			for deadline := time.Now().Add(20 * time.Second); m.current() == "" || m.inspect().Lock != nil; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it was started, and did not end")
				}
			}
		})
	}
}
