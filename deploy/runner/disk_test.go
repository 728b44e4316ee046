//go:build unix

package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// TestOnDiskBeforeItIsSaid: what a step has written is on the disk before the
// journal says that the step has ended, whether this host's sync knows
// single files or not.
func TestOnDiskBeforeItIsSaid(t *testing.T) {
	for shell, env := range shells(t) {
		for knows, want := range map[string]string{
			"true":  "files | begin 10-a, journal | end 10-a 1, journal | undoing, journal | undo-begin 10-a, files | undo-begin 10-a, journal | undo-end 10-a 0, journal | run-end undone 10-a",
			"false": "all | begin 10-a, journal | end 10-a 1, journal | undoing, journal | undo-begin 10-a, all | undo-begin 10-a, journal | undo-end 10-a 0, journal | run-end undone 10-a",
		} {
			t.Run(shell+" "+knows, func(t *testing.T) {
				h := newHost(t, env, steps{"10-a.do": "exit 1", "10-a.undo": "true"})
				h.tool("sync", `case $1 in --) `+knows+` || exit 1; set -- files ;; esac; echo "${*:-all} | $(tail -n 1 journal 2>/dev/null | cut -d " " -f 3-)" >>synced`)
				if exit, out := h.do("start"); exit != runner.ExitUndone {
					t.Fatalf("exit code %d: %s", exit, out)
				}
				_, synced, _ := strings.Cut(h.read("synced"), "journal | begin 10-a\n")
				synced = strings.ReplaceAll(strings.TrimSpace(synced), "\n", ", ")
				if !strings.HasPrefix(synced, want) {
					t.Errorf("synced, with the journal's last line:\n got %s\nwant %s", synced, want)
				}
			})
		}
	}
}

// TestStepNotNoted: a step whose process can't be noted does not begin.
func TestStepNotNoted(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace; rm -rf child.part; mkdir -p child.part/child", "20-b.do": "echo b >>trace",
			})
			if exit, out := h.do("start"); exit != runner.ExitUndone || !strings.Contains(out, "not begun: its process can't be noted") {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if got := h.words("trace"); got != "a" {
				t.Errorf("trace %q", got)
			}
		})
	}
}

// TestKilledBeforeTheNote: a step whose runner was killed before it could be
// noted does not begin, so that it is not under way twice.
func TestKilledBeforeTheNote(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "echo a >>trace", "20-b.do": "echo b >>trace"})
			sh := h.sh()
			h.tool("sh", `case "$*" in *10-a.do*) [ -e again ] || { touch again; kill -9 $PPID; sleep 0.5; touch later; } ;; esac; exec `+sh+` "$@"`)
			start := func(verb string) {
				cmd := exec.Command(sh, runner.Command(h.run, verb)[1:]...)
				cmd.Env = h.env
				_ = cmd.Run()
			}
			start("start")
			start("wake")
			until(t, "the first process", func() bool { _, err := os.Stat(filepath.Join(h.run, "later")); return err == nil })
			time.Sleep(300 * time.Millisecond)
			if got := h.words("trace"); got != "a b" || h.journal().Outcome() != runner.Done {
				t.Errorf("trace %q, outcome %q", got, h.journal().Outcome())
			}
		})
	}
}

// TestDiskFull: on a disk that is full a step is undone as ever, because the room
// for the note about its process is kept.
func TestDiskFull(t *testing.T) {
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("can't mount a file system: %s", out)
	}
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do":   "cat /dev/zero >fill 2>/dev/null; exit 1",
				"10-a.undo": "grep -qx pid=$$ child && ! echo full 2>/dev/null >another",
			})
			sh := h.sh()
			cmd := exec.Command("unshare", "--mount", "/bin/sh", "-c", `mount -t tmpfs -o size=256k tmpfs /mnt && cp -R "$1" /mnt && shift && exec "$@"`,
				"sh", filepath.Dir(h.run), sh, "/mnt/runs/"+filepath.Base(h.run)+"/runner", "start")
			cmd.Env = h.env
			out, err := cmd.CombinedOutput()
			if exitCode(err) != runner.ExitUndone || !strings.Contains(string(out), "undo-end 10-a 0") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestJournalCutOff: a line that a full disk cut off does not take the next one
// with it.
func TestJournalCutOff(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "printf '2026-11-23T2' >>journal; echo a >>trace", "20-b.do": "printf '2026-' >>journal; exit 1", "20-b.undo": "kill -9 $PPID",
			})
			h.do("start")
			if got, want := h.events(), "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, undoing, undo-begin 20-b"; got != want {
				t.Errorf("journal:\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestJournalNotBegun: a run whose first line can't be written never began, and
// one that can't be carried on with is woken again.
func TestJournalNotBegun(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			h := newHost(t, env, steps{
				// No file can be longer than the limit set below.
				"10-a.do": "echo a >>trace; [ -e again ] || { touch again; head -c 1000 /dev/zero | tr '\\0' x >>journal; kill -9 $PPID; }",
			})
			sh := h.sh()
			h.tool("crontab", `[ "$1" = -l ] && exec cat "$CRONTAB"; cat >"$CRONTAB"; [ ! -e full ] || ln -s /dev/full journal`)
			do := func(verb, prepare string) int {
				cmd := exec.Command(sh, append([]string{"-c", prepare + `; cd "${2%/*}"; exec "$@"`, "sh", sh}, runner.Command(h.run, verb)[1:]...)...)
				cmd.Env = h.env
				_, err := cmd.CombinedOutput()
				return exitCode(err)
			}
			if exit := do("start", `touch "${2%/*}/full"`); exit != runner.ExitRefused || h.locked() || h.crontab() != ownLine {
				t.Errorf("start: exit code %d; locked: %v, crontab\n%s", exit, h.locked(), h.crontab())
			}
			if _, err := os.Lstat(filepath.Join(h.run, "journal")); err == nil {
				t.Error("the run seems to have begun")
			}

			do("start", `rm "${2%/*}/full"`)
			if exit := do("resume", `trap "" XFSZ; ulimit -f 1`); exit != runner.ExitRefused || h.locked() || !strings.Contains(h.crontab(), "wake") {
				t.Errorf("resume: exit code %d; locked: %v, crontab\n%s", exit, h.locked(), h.crontab())
			}
			if exit := do("wake", ":"); exit != runner.ExitDone || h.words("trace") != "a a" || h.locked() || h.crontab() != ownLine {
				t.Errorf("wake: exit code %d; locked: %v, crontab\n%s", exit, h.locked(), h.crontab())
			}
		})
	}
}

// TestWakerOnDisk: what wakes a run is on the disk before the run begins.
func TestWakerOnDisk(t *testing.T) {
	for shell, env := range shells(t) {
		for _, systemd := range []bool{true, false} {
			t.Run(shell+" "+map[bool]string{true: "systemd", false: "cron"}[systemd], func(t *testing.T) {
				h := newHost(t, env, steps{"10-a.do": "true"})
				sh := h.sh()
				want := "all: 3 lines of cron"
				if systemd {
					if err := os.Mkdir(filepath.Join(h.dir, "units"), 0o700); err != nil {
						t.Fatal(err)
					}
					want = "-f " + filepath.Join(h.dir, "units") + ": 2 units"
				}
				h.tool("id", "echo 0")
				h.tool("sync", `[ -e journal ] || if [ -d "$SYSTEMD_UNIT_PATH" ]; then
echo "$*: $(find "$SYSTEMD_UNIT_PATH" -name "deploy-run-*" -size +0 | wc -l) units"
else echo "${*:-all}: $(grep -c 0001-1.0.0 "$CRONTAB") lines of cron"; fi >>synced`)
				cmd := exec.Command(sh, runner.Command(h.run, "start")[1:]...)
				cmd.Env = h.env
				out, err := cmd.CombinedOutput()
				lines := strings.Split(strings.TrimSpace(h.read("synced")), "\n")
				if last := lines[len(lines)-1]; err != nil || last != want {
					t.Errorf("%v: %s\nsynced last is %q, want %q", err, out, last, want)
				}
			})
		}
	}
}
