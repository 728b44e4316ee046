//go:build unix

package runner_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// shells are those that a host may have as sh. With busybox everything else
// that the runner calls is busybox's as well.
func shells(t *testing.T) map[string][]string {
	debiantest.Install(t, "dash", "busybox")
	tools, own := t.TempDir(), t.TempDir()
	if out, err := exec.Command("busybox", "--install", "-s", tools).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Neither gets at the crontab and the systemd of the user who runs the tests.
	for _, dir := range []string{tools, own} {
		for name, text := range map[string]string{"crontab": crontab, "systemctl": systemctl, "loginctl": loginctl} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	return map[string][]string{
		"dash":    {"PATH=" + own + ":" + os.Getenv("PATH")},
		"busybox": {"PATH=" + tools},
	}
}

// crontab is the command, with a file of the test's.
const crontab = `#!/bin/sh
case $1 in
-l) exec cat "$CRONTAB" ;;
-) exec cat >"$CRONTAB" ;;
esac
exit 1
`

// systemctl is the command where systemd runs, which it does if there is the
// folder of its units. It notes what it is called with.
const systemctl = `#!/bin/sh
[ -d "$SYSTEMD_UNIT_PATH" ] || { echo "System has not been booted with systemd" >&2; exit 1; }
echo "$*" >>"$SYSTEMD_UNIT_PATH/calls"
case $* in *" enable "*) [ ! -e "$SYSTEMD_UNIT_PATH/fails" ] ;; esac
`

// loginctl is the command for a user who may linger.
const loginctl = `#!/bin/sh
case $* in
*enable-linger) touch "$SYSTEMD_UNIT_PATH/lingers" ;;
*) [ ! -e "$SYSTEMD_UNIT_PATH/lingers" ] || echo Linger=yes ;;
esac
`

// host is a folder as it is on a host, with one run in it.
type host struct {
	t   *testing.T
	dir string
	run string
	env []string
}

// ownLine is what the user's crontab has of its own.
const ownLine = "5 4 * * * backup # 50% of the time\n"

// crontab returns the user's crontab.
func (h *host) crontab() string {
	data, err := os.ReadFile(filepath.Join(h.dir, "crontab"))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

// steps are the contents of step files by their names.
type steps map[string]string

func newHost(t *testing.T, env []string, s steps) *host {
	dir := t.TempDir()
	h := &host{t: t, dir: dir, run: filepath.Join(dir, "runs", "0001-1.0.0"), env: append(os.Environ(), env...)}
	h.env = append(h.env, "CRONTAB="+filepath.Join(dir, "crontab"), "SYSTEMD_UNIT_PATH="+filepath.Join(dir, "units"))
	if err := os.WriteFile(filepath.Join(dir, "crontab"), []byte(ownLine), 0o600); err != nil {
		t.Fatal(err)
	}
	h.add(h.run, s)
	return h
}

func (h *host) add(run string, s steps) {
	h.t.Helper()
	if err := os.MkdirAll(run, 0o700); err != nil {
		h.t.Fatal(err)
	}
	for name, text := range s {
		if err := os.WriteFile(filepath.Join(run, name), []byte(text), 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
	for name, text := range runner.Files() {
		if err := os.WriteFile(filepath.Join(run, name), []byte(text), 0o700); err != nil {
			h.t.Fatal(err)
		}
	}
}

// command is the runner on a run, with the sh that the test is about.
func (h *host) command(run, verb string) *exec.Cmd {
	argv := runner.Command(run, verb)
	cmd := exec.Command(h.sh(), argv[1:]...)
	cmd.Env = h.env
	return cmd
}

func (h *host) sh() string {
	for _, v := range h.env[len(os.Environ()):] {
		if tools, ok := strings.CutPrefix(v, "PATH="); ok && !strings.Contains(tools, ":") {
			return filepath.Join(tools, "sh")
		}
	}
	return "/bin/sh"
}

// do runs a verb to its end.
func (h *host) do(verb string) (exit int, output string) {
	h.t.Helper()
	out, err := h.command(h.run, verb).CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		h.t.Fatal(err)
	}
	if ended != nil {
		exit = ended.ExitCode()
	}
	return exit, string(out)
}

func (h *host) read(name string) string {
	data, err := os.ReadFile(filepath.Join(h.run, name))
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return string(data)
}

func (h *host) journal() runner.Journal {
	h.t.Helper()
	j, _ := runner.ParseJournal(h.read("journal"))
	return j
}

// events returns the journal without its times and process numbers.
func (h *host) events() string {
	var lines []string
	for _, e := range h.journal() {
		line := string(e.Event) + " " + e.Name
		switch e.Event {
		case runner.End, runner.UndoEnd:
			line += " " + strconv.Itoa(e.Exit)
		case runner.RunEnd:
			line += " " + strings.Join(e.Rest, " ")
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, ", ")
}

func (h *host) locked() bool {
	_, err := os.Lstat(filepath.Join(h.dir, "lock"))
	return err == nil
}

// until waits for a condition that another process brings about.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestRunner(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			for _, tc := range []struct {
				name   string
				steps  steps
				exit   int
				events string
				trace  string
			}{
				{
					name: "every step succeeds, in order",
					steps: steps{
						"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
						"20-b.do": "echo b >>trace", "notes.txt": "no step",
						"30-c.do": "echo c >>trace", "critical": "20-b",
					},
					exit:   runner.ExitDone,
					events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 0, run-end done",
					trace:  "a b c",
				},
				{
					name: "a failing step has those begun undone, newest first, itself included",
					steps: steps{
						"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
						"20-b.do": "echo b >>trace",
						"30-c.do": "echo c >>trace; exit 7", "30-c.undo": "echo undo-c >>trace",
						"40-d.do": "echo d >>trace", "40-d.undo": "echo undo-d >>trace",
					},
					exit:   runner.ExitUndone,
					events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 7, undoing, undo-begin 30-c, undo-end 30-c 0, undo-begin 10-a, undo-end 10-a 0, run-end undone 30-c",
					trace:  "a b c undo-c undo-a",
				},
				{
					name: "a failing undo stops everything",
					steps: steps{
						"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
						"20-b.do": "echo b >>trace", "20-b.undo": "echo hold >>trace; exit 4",
						"30-c.do": "exit 1", "30-c.undo": "echo undo-c >>trace",
					},
					exit:   runner.ExitHeld,
					events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 1, undoing, undo-begin 30-c, undo-end 30-c 0, undo-begin 20-b, undo-end 20-b 4, run-end held 20-b",
					trace:  "a b undo-c hold",
				},
				{
					name:   "a step is given no input",
					steps:  steps{"10-a.do": "cat >>trace; echo a >>trace"},
					exit:   runner.ExitDone,
					events: "run-begin start, begin 10-a, end 10-a 0, run-end done",
					trace:  "a",
				},
				{
					name:   "a step that is killed has failed",
					steps:  steps{"10-a.do": "kill -9 $$", "10-a.undo": "echo undo-a >>trace"},
					exit:   runner.ExitUndone,
					events: "run-begin start, begin 10-a, end 10-a 137, undoing, undo-begin 10-a, undo-end 10-a 0, run-end undone 10-a",
					trace:  "undo-a",
				},
			} {
				t.Run(tc.name, func(t *testing.T) {
					h := newHost(t, env, tc.steps)
					exit, output := h.do("start")
					if exit != tc.exit {
						t.Errorf("exit code %d, want %d\n%s", exit, tc.exit, output)
					}
					if got := h.events(); got != tc.events {
						t.Errorf("journal:\n got %s\nwant %s", got, tc.events)
					}
					if got := strings.Join(strings.Fields(h.read("trace")), " "); got != tc.trace {
						t.Errorf("trace %q, want %q", got, tc.trace)
					}
					if h.locked() {
						t.Error("the lock is left")
					}
					if got := h.crontab(); got != ownLine {
						t.Errorf("the user's crontab is now\n%s", got)
					}
					// Who follows the output sees the whole journal.
					var followed runner.Journal
					for line := range strings.Lines(output) {
						if e, ok := runner.ParseLine(strings.TrimSpace(line)); ok {
							followed = append(followed, e)
						}
					}
					if len(followed) != len(h.journal()) || followed.Outcome() != h.journal().Outcome() {
						t.Errorf("the output tells another story:\n%s", output)
					}
				})
			}
		})
	}
}

func TestRunnerRefuses(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "echo a >>trace"})
			if exit, out := h.do("resume"); exit != runner.ExitRefused || !strings.Contains(out, "run 0001-1.0.0 was never started") {
				t.Errorf("resume of a new run: exit code %d, %s", exit, out)
			}
			if exit, out := h.do("start"); exit != 0 {
				t.Fatalf("exit code %d: %s", exit, out)
			}
			for verb, want := range map[string]string{
				"start":  "run 0001-1.0.0 was started already",
				"resume": "run 0001-1.0.0 has ended: done",
				"undo":   "run 0001-1.0.0 has ended: done",
				"stop":   "run 0001-1.0.0 is not under way",
				"dance":  "usage: ",
			} {
				if exit, out := h.do(verb); exit != runner.ExitRefused || !strings.Contains(out, want) {
					t.Errorf("%s of a run that is done: exit code %d, %s", verb, exit, out)
				}
			}
			if _, out := h.do("status"); strings.TrimSpace(out) != "done" {
				t.Errorf("status: %s", out)
			}
			if got := h.read("trace"); got != "a\n" {
				t.Errorf("steps ran again: %q", got)
			}
		})
	}
}

func TestLock(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "echo a >>trace; while [ ! -e go ]; do sleep 0.02; done"})
			first := h.command(h.run, "start")
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the first run", func() bool { return h.read("trace") != "" })

			other := filepath.Join(h.dir, "runs", "0002-1.0.1")
			h.add(other, steps{"10-a.do": "echo a >>trace"})
			out, err := h.command(other, "start").CombinedOutput()
			if exitCode(err) != runner.ExitRefused ||
				!strings.Contains(string(out), "the deploy lock is held by run 0001-1.0.0, process "+strconv.Itoa(first.Process.Pid)) {
				t.Errorf("a second run: %v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(other, "journal")); err == nil {
				t.Error("the refused run has a journal")
			}
			if exit, out := h.do("resume"); exit != runner.ExitRefused {
				t.Errorf("resume of a run under way: exit code %d: %s", exit, out)
			}
			if _, out := h.do("status"); strings.TrimSpace(out) != "running" {
				t.Errorf("status: %s", out)
			}
			if err := os.WriteFile(filepath.Join(h.run, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := first.Wait(); err != nil {
				t.Errorf("the first run was disturbed: %v", err)
			}
			// Now the other one gets its turn.
			if out, err := h.command(other, "start").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			if left, _ := filepath.Glob(filepath.Join(h.dir, "runs", "*", "lock.*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func exitCode(err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return 0
}

// TestKilled ends the runner with a signal that it can't notice, in the middle
// of a step, and has the operator carry on or go back.
func TestKilled(t *testing.T) {
	for shell, env := range shells(t) {
		for _, tc := range []struct{ verb, events, trace string }{
			{"resume", "run-begin start, begin 10-a, end 10-a 0, begin 20-b, run-begin resume, begin 20-b, end 20-b 0, begin 30-c, end 30-c 0, run-end done", "a b b c"},
			{"undo", "run-begin start, begin 10-a, end 10-a 0, begin 20-b, run-begin undo, undoing, undo-begin 20-b, undo-end 20-b 0, undo-begin 10-a, undo-end 10-a 0, run-end undone none", "a b undo-b undo-a"},
		} {
			t.Run(shell+" "+tc.verb, func(t *testing.T) {
				h := newHost(t, env, steps{
					"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
					"20-b.do": "echo b >>trace; while [ ! -e go ]; do sleep 0.02; done", "20-b.undo": "echo undo-b >>trace",
					"30-c.do": "echo c >>trace", "critical": "20-b",
				})
				cmd := h.command(h.run, "start")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				until(t, "the second step", func() bool { return strings.Contains(h.read("trace"), "b") })
				until(t, "the note about its process", func() bool { return strings.Contains(h.read("child"), "boot=") })
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
				if _, out := h.do("status"); strings.TrimSpace(out) != "interrupted" {
					t.Errorf("status: %s", out)
				}
				if !h.locked() {
					t.Error("the lock is gone with its owner")
				}
				// The step is at it still: nothing else may be.
				if exit, out := h.do(tc.verb); exit != runner.ExitRefused || !strings.Contains(out, "still runs as process ") {
					t.Errorf("exit code %d: %s", exit, out)
				}
				// Another run does not get the lock.
				other := filepath.Join(h.dir, "runs", "0002-1.0.1")
				h.add(other, steps{"10-a.do": "true"})
				if out, err := h.command(other, "start").CombinedOutput(); exitCode(err) != runner.ExitRefused {
					t.Errorf("another run took the lock: %s", out)
				}
				if err := os.WriteFile(filepath.Join(h.run, "go"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				pid, _ := strconv.Atoi(strings.TrimPrefix(strings.SplitN(h.read("child"), "\n", 2)[0], "pid="))
				until(t, "the end of the step", func() bool { return ended(pid) })

				h.do(tc.verb)
				if got := h.events(); got != tc.events {
					t.Errorf("journal:\n got %s\nwant %s", got, tc.events)
				}
				if got := strings.Join(strings.Fields(h.read("trace")), " "); got != tc.trace {
					t.Errorf("trace %q, want %q", got, tc.trace)
				}
				if h.locked() {
					t.Error("the lock is left")
				}
			})
		}
	}
}

// ended reports whether a process is gone, or a zombie that is not waited for.
func ended(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " Z")
}

// TestRestartedWhileUndoing: a run that was going back goes on going back.
func TestRestartedWhileUndoing(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace; [ -e again ] || { touch again; kill -9 $PPID; }",
				"20-b.do": "exit 1", "20-b.undo": "echo undo-b >>trace",
			})
			h.do("start")
			until(t, "the end of the step", func() bool {
				pid, _ := strconv.Atoi(strings.TrimPrefix(strings.SplitN(h.read("child"), "\n", 2)[0], "pid="))
				return pid == 0 || ended(pid)
			})
			if exit, out := h.do("resume"); exit != runner.ExitUndone {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if got := strings.Join(strings.Fields(h.read("trace")), " "); got != "a undo-b undo-a undo-a" {
				t.Errorf("trace %q", got)
			}
		})
	}
}

// TestHeldThenResumed: the operator removes the cause and has the run try again.
func TestHeldThenResumed(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
				"20-b.do": "echo b >>trace; [ -e mended ]", "20-b.undo": "echo hold >>trace; exit 4",
				"30-c.do": "echo c >>trace", "30-c.undo": "echo undo-c >>trace",
			})
			if exit, _ := h.do("start"); exit != runner.ExitHeld {
				t.Fatalf("exit code %d", exit)
			}
			if err := os.WriteFile(filepath.Join(h.run, "mended"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if exit, out := h.do("resume"); exit != runner.ExitDone {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if got := strings.Join(strings.Fields(h.read("trace")), " "); got != "a b hold b c" {
				t.Errorf("trace %q", got)
			}
		})
	}
}

func TestStop(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell+" before the critical part", func(t *testing.T) {
			// What the step started is ended with it.
			h := newHost(t, env, steps{
				"10-a.do": "sleep 600 & echo $! >sleeping; wait; echo survived >>trace", "10-a.undo": "echo undo-a >>trace",
				"20-b.do": "echo b >>trace", "critical": "20-b",
			})
			cmd := h.command(h.run, "start")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the step", func() bool { return strings.HasSuffix(h.read("sleeping"), "\n") })
			if exit, out := h.do("stop"); exit != 0 {
				t.Fatalf("exit code %d: %s", exit, out)
			}
			if code := exitCode(cmd.Wait()); code != runner.ExitUndone {
				t.Errorf("exit code %d", code)
			}
			if got := h.read("trace"); got != "undo-a\n" {
				t.Errorf("trace %q", got)
			}
			if got, want := h.events(), "run-begin start, begin 10-a, end 10-a 143, undoing, undo-begin 10-a, undo-end 10-a 0, run-end undone 10-a"; got != want {
				t.Errorf("journal:\n got %s\nwant %s", got, want)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(h.read("sleeping")))
			if err != nil {
				t.Fatal(err)
			}
			until(t, "the end of what the step started", func() bool { return ended(pid) })
		})
		t.Run(shell+" in the critical part", func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace; while [ ! -e go ]; do sleep 0.02; done; echo b >>trace", "10-a.undo": "echo undo-a >>trace",
				"critical": "10-a",
			})
			cmd := h.command(h.run, "start")
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the step", func() bool { return h.read("trace") != "" })
			for range 2 {
				if exit, out := h.do("stop"); exit != 0 {
					t.Fatalf("exit code %d: %s", exit, out)
				}
				time.Sleep(50 * time.Millisecond)
			}
			for _, signal := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(h.run, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v", err)
			}
			if got := h.read("trace"); got != "a\nb\n" {
				t.Errorf("trace %q", got)
			}
			if !strings.Contains(out.String(), "not stopped: the run is past the point where it can be") {
				t.Errorf("output: %s", out.String())
			}
		})
		t.Run(shell+" woken in the critical part", func(t *testing.T) {
			// It is told to stop before it comes to the step that it goes on with.
			const toRunner = ` "$(sed -n s/^pid=//p ../../lock)"`
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace; [ -e woken ] || { touch woken; kill -9" + toRunner + "; }", "10-a.undo": "echo undo-a >>trace",
				"critical": "10-a",
			})
			h.tool("crontab", "[ ! -e woken ] || kill -TERM"+toRunner+"\n"+strings.TrimPrefix(crontab, "#!/bin/sh\n"))
			if exit, out := h.do("start"); exit == runner.ExitDone {
				t.Fatalf("it was not killed: %s", out)
			}
			until(t, "the end of the step", func() bool { return h.read("trace") != "" })
			until(t, "the run going on", func() bool { _, _ = h.do("wake"); return strings.Contains(h.events(), "run-end") })
			if got := h.read("trace"); got != "a\na\n" {
				t.Errorf("trace %q, %s", got, h.events())
			}
		})
	}
}

// TestJournalCantBeWritten: what can't be written down is not begun, and what
// was begun is undone all the same.
func TestJournalCantBeWritten(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
				// No file can be longer than the limit set below.
				"20-b.do": "echo b >>trace; head -c 1000 /dev/zero | tr '\\0' x >>journal", "20-b.undo": "echo undo-b >>trace",
				"30-c.do": "echo c >>trace",
			})
			limited := append([]string{"-c", `trap "" XFSZ; ulimit -f 1; exec "$@"`, "sh", h.sh()}, runner.Command(h.run, "start")[1:]...)
			cmd := exec.Command(h.sh(), limited...)
			cmd.Env = h.env
			out, err := cmd.CombinedOutput()
			if exitCode(err) != runner.ExitUndone {
				t.Errorf("%v: %s", err, out)
			}
			if got := strings.Join(strings.Fields(h.read("trace")), " "); got != "a b undo-b undo-a" {
				t.Errorf("trace %q\n%s", got, out)
			}
		})
	}
}

// TestWake: a run whose process was killed goes on when the crontab wakes it,
// and nothing else is done for it.
func TestWake(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace",
				"20-b.do": "echo b >>trace; [ -e again ] || { touch again; echo $PPID >victim; while :; do sleep 0.02; done; }",
				"30-c.do": "echo c >>trace",
			})
			first := h.command(h.run, "start")
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the second step", func() bool { return h.read("victim") != "" })
			lines := strings.Split(strings.TrimSpace(strings.TrimPrefix(h.crontab(), ownLine)), "\n")
			if len(lines) != 3 || !strings.HasPrefix(lines[1], "@reboot sh '"+h.run+"/runner' wake") || !strings.HasPrefix(lines[2], "* * * * * sh '"+h.run+"/runner' wake") {
				t.Errorf("the crontab has %q", lines)
			}
			if exit, out := h.do("wake"); exit != 0 || out != "" {
				t.Errorf("wake of a run under way: exit code %d: %s", exit, out)
			}
			// The runner alone is killed: its step still runs.
			if err := first.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = first.Wait()
			if exit, out := h.do("wake"); exit != 0 || out != "" || strings.Count(h.read("trace"), "b") != 1 {
				t.Errorf("wake while a step runs still: exit code %d: %s", exit, out)
			}
			step, err := strconv.Atoi(strings.TrimPrefix(strings.Split(h.read("child"), "\n")[0], "pid="))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(step, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			until(t, "the end of the step", func() bool { return syscall.Kill(step, 0) != nil })
			if exit, out := h.do("wake"); exit != 0 {
				t.Errorf("wake: exit code %d: %s", exit, out)
			}
			if got := strings.Join(strings.Fields(h.read("trace")), " "); got != "a b b c" {
				t.Errorf("trace %q", got)
			}
			if h.journal().Outcome() != runner.Done || h.locked() || h.crontab() != ownLine {
				t.Errorf("outcome %q, locked %v, crontab\n%s", h.journal().Outcome(), h.locked(), h.crontab())
			}
		})
	}
}

// TestWaitDocker: what fails while Docker is restarted is done again, and what
// fails otherwise is not.
func TestWaitDocker(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"wait-docker.sh": "cat started",
				"started":        "first\n",
				"10-a.do":        "echo a >>trace; [ -e again ] || { touch again; echo second >started; exit 1; }",
				"10-a.undo":      "echo undo-a >>trace; [ -e undone ] || { touch undone; echo third >started; exit 1; }",
				"20-b.do":        "echo b >>trace; exit 5",
			})
			if exit, out := h.do("start"); exit != runner.ExitUndone || !strings.Contains(out, "restarted meanwhile: 10-a is done again") {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if got := strings.Join(strings.Fields(h.read("trace")), " "); got != "a a b undo-a undo-a" {
				t.Errorf("trace %q", got)
			}
		})
	}
}

// TestWaitDockerAtTheEnd: what Docker ends during the last step is looked after
// too, but not by a run that is held.
func TestWaitDockerAtTheEnd(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			for outcome, tc := range map[runner.Outcome]struct{ do, undo, trace string }{
				runner.Done:   {"echo a >>trace", "", "look look a look"},
				runner.Undone: {"echo a >>trace; exit 1", "echo undo >>trace", "look look a look look undo look"},
				runner.Held:   {"echo a >>trace; exit 1", "echo undo >>trace; exit 1", "look look a look look undo look"},
			} {
				h := newHost(t, env, steps{"wait-docker.sh": "echo look >>trace", "10-a.do": tc.do, "10-a.undo": tc.undo})
				h.do("start")
				if got := strings.Join(strings.Fields(h.read("trace")), " "); got != tc.trace || h.journal().Outcome() != outcome {
					t.Errorf("%s: trace %q, want %q; outcome %s", outcome, got, tc.trace, h.journal().Outcome())
				}
			}
		})
	}
}

func TestShellcheck(t *testing.T) {
	for name, text := range runner.Files() {
		t.Run(name, func(t *testing.T) {
			// The run that wake.sh is about is the runner's. What is quoted is
			// meant for another shell.
			debiantest.Shellcheck(t, text, "--shell=sh", "--exclude=SC1091,SC2016,SC2154")
		})
	}
}
