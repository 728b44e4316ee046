//go:build unix

package runner_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// words returns the words of a file of the run.
func (h *host) words(name string) string { return strings.Join(strings.Fields(h.read(name)), " ") }

// noPause has the runner try again at once. Its sleep is found before the one of
// busybox, which is no program.
func (h *host) noPause() {
	script := strings.ReplaceAll(runner.Script, `sleep "$pause"`, `echo pause >>trace`)
	if err := os.WriteFile(filepath.Join(h.run, runner.Name), []byte(script), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// TestSettled holds that nothing is undone once the settled part is reached:
// what fails there is tried again, and then the run goes on.
func TestSettled(t *testing.T) {
	for shell, env := range shells(t) {
		for _, tc := range []struct {
			name, b, wait string
			events, trace string
			warned        string
		}{
			{
				name: "a step that fails is tried again, and then left", b: "echo b >>trace; exit 7",
				events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 7, begin 30-c, end 30-c 0, run-end done",
				trace:  "a b pause b pause b c", warned: "20-b",
			},
			{
				name: "a step that succeeds at its second attempt", b: "echo b >>trace; [ -e again ] || { touch again; exit 7; }",
				events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 0, run-end done",
				trace:  "a b pause b c",
			},
			{
				name: "Docker that does not answer is waited for once", b: "echo b >>trace", wait: "[ ! -e 20-waits ] || { echo waited >>trace; rm 20-waits; exit 1; }",
				events: "run-begin start, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, begin 30-c, end 30-c 0, run-end done",
				trace:  "a waited c", warned: "20-b",
			},
		} {
			t.Run(shell+" "+tc.name, func(t *testing.T) {
				s := steps{
					"10-a.do": "echo a >>trace; touch 20-waits", "10-a.undo": "echo undo-a >>trace",
					"20-b.do": tc.b, "20-b.undo": "echo undo-b >>trace",
					"30-c.do": "echo c >>trace", "critical": "10-a\n", "settled": "20-b\n",
				}
				if tc.wait != "" {
					s["wait-docker.sh"] = tc.wait
				}
				h := newHost(t, env, s)
				h.noPause()
				if exit, out := h.do("start"); exit != runner.ExitDone {
					t.Errorf("exit code %d: %s", exit, out)
				}
				if got := h.events(); got != tc.events {
					t.Errorf("journal:\n got %s\nwant %s", got, tc.events)
				}
				if got := h.words("trace"); got != tc.trace {
					t.Errorf("trace %q, want %q", got, tc.trace)
				}
				var failed []string
				for _, e := range h.journal().Unsuccessful() {
					failed = append(failed, e.Name)
				}
				if got := strings.Join(failed, " "); got != tc.warned {
					t.Errorf("failed: %q, want %q", got, tc.warned)
				}
			})
		}
	}
}

// TestSettledIsNotUndone: neither a signal, nor undo, nor a resume, nor a full
// disk takes a live release back.
func TestSettledIsNotUndone(t *testing.T) {
	for shell, env := range shells(t) {
		s := func(b string) steps {
			return steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
				"20-b.do": b, "20-b.undo": "echo undo-b >>trace",
				"30-c.do": "echo c >>trace", "critical": "10-a\n", "settled": "20-b\n",
			}
		}
		t.Run(shell+" by a signal", func(t *testing.T) {
			h := newHost(t, env, s("echo b >>trace; while [ ! -e go ]; do sleep 0.02; done"))
			cmd := h.command(h.run, "start")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, "the settled step", func() bool { return strings.Contains(h.read("trace"), "b") })
			if exit, out := h.do("stop"); exit != 0 {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if err := os.WriteFile(filepath.Join(h.run, "go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || h.words("trace") != "a b c" {
				t.Errorf("%v, trace %q", err, h.words("trace"))
			}
		})
		t.Run(shell+" by hand", func(t *testing.T) {
			h := newHost(t, env, s(`echo b >>trace; [ -e again ] || { touch again; kill -9 $PPID; }`))
			h.do("start")
			until(t, "the end of the step", func() bool { exit, _ := h.do("resume"); return exit == runner.ExitDone })
			if got := h.words("trace"); got != "a b b c" {
				t.Errorf("trace %q", got)
			}
		})
		t.Run(shell+" by undo", func(t *testing.T) {
			for journal, refused := range map[string]bool{
				"begin 10-a, end 10-a 0":                                     true,
				"begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, begin 30-c": true,
				"begin 10-a": false,
				"begin 10-a, end 10-a 0, undoing, undo-begin 10-a":                                               false,
				"begin 10-a, end 10-a 1, undoing, undo-begin 10-a, undo-end 10-a 1, run-end held 10-a":           false,
				"begin 10-a, end 10-a 0, undoing, undo-begin 10-a, undo-end 10-a 0, run-begin resume 2 b":        false,
				"begin 10-a, end 10-a 1, undoing, undo-begin 10-a, run-begin resume 2 b, begin 10-a, end 10-a 0": true,
			} {
				one := s("echo b >>trace")
				for line := range strings.SplitSeq("run-begin start 1 b, "+journal, ", ") {
					one["journal"] += "2026-11-23T23:00:00Z 1.00 " + line + "\n"
				}
				h := newHost(t, env, one)
				exit, out := h.do("undo")
				if refused != (exit == runner.ExitRefused) || refused && !strings.Contains(out, "past the point where it can be undone: its release is live") {
					t.Errorf("%s: exit code %d: %s", journal, exit, out)
				}
				if undone := strings.Contains(h.read("trace"), "undo"); refused && undone {
					t.Errorf("%s: undone: %s", journal, h.words("trace"))
				}
			}
		})
		t.Run(shell+" by a full disk", func(t *testing.T) {
			h := newHost(t, env, steps{
				"10-a.do": "echo a >>trace", "10-a.undo": "echo undo-a >>trace",
				// No file can be longer than the limit set below.
				"20-b.do": "echo b >>trace; head -c 1000 /dev/zero | tr '\\0' x >>journal; true", "20-b.undo": "echo undo-b >>trace",
				"30-c.do": "echo c >>trace", "critical": "10-a\n", "settled": "30-c\n",
			})
			limited := append([]string{"-c", `trap "" XFSZ; ulimit -f 1; exec "$@"`, "sh", h.sh()}, runner.Command(h.run, "start")[1:]...)
			cmd := exec.Command(h.sh(), limited...)
			cmd.Env = h.env
			out, _ := cmd.CombinedOutput()
			if got := h.words("trace"); got != "a b" || !strings.Contains(string(out), "the journal can't be written: make room on the host") {
				t.Errorf("trace %q: %s", got, out)
			}
			if !h.locked() || !strings.Contains(h.crontab(), "runner' wake") {
				t.Errorf("locked %v, and nothing wakes it: %s", h.locked(), h.crontab())
			}
			// There is room again.
			if exit, out := h.do("wake"); exit != runner.ExitDone {
				t.Errorf("exit code %d: %s", exit, out)
			}
			if got := h.words("trace"); !strings.HasPrefix(got, "a b") || !strings.HasSuffix(got, "c") || strings.Contains(got, "undo") {
				t.Errorf("trace %q", got)
			}
			if h.locked() || h.crontab() != ownLine {
				t.Errorf("locked %v, crontab\n%s", h.locked(), h.crontab())
			}
		})
	}
}

// TestPlanned holds that a run is refused under the lock where what it was
// planned for is not what is there.
func TestPlanned(t *testing.T) {
	const (
		done = "2026-11-23T23:00:00Z 1.00 run-begin start 1 b\n2026-11-23T23:00:00Z 1.00 run-end done\n"
		held = "2026-11-23T23:00:00Z 1.00 run-begin start 1 b\n2026-11-23T23:00:00Z 1.00 run-end held 10-a\n"
		cut  = "2026-11-23T23:00:00Z 1.00 run-begin start 1 b\n2026-11-23T23:00:00Z 1.00 begin 10-a\n"
	)
	for shell, env := range shells(t) {
		for _, tc := range []struct {
			name    string
			others  map[string]string // their journals; empty for one never started
			current string
			planned string
			said    string // empty where it is carried out
		}{
			{"nothing was there", nil, "", "newest=\ncurrent=\n", ""},
			{"what was there is there", map[string]string{"0000-1": done}, "releases/1", "newest=0000-1\ncurrent=releases/1\n", ""},
			{"another one was uploaded, and never started", map[string]string{"0000-1": done, "0001-0.9": ""}, "releases/1", "newest=0000-1\ncurrent=releases/1\n", ""},
			{"another run of the same moment", map[string]string{"0000-1": done, "0001-0.9": done}, "releases/1", "newest=0000-1\ncurrent=releases/1\n", "run 0001-0.9 of bob@home came between: plan again"},
			{"another run that is held", map[string]string{"0002-2": held}, "", "newest=\ncurrent=\n", "run 0002-2 of bob@home came between: plan again"},
			{"the first run", map[string]string{"0002-2": done}, "", "newest=\ncurrent=\n", "run 0002-2 of bob@home came between: plan again"},
			{"another release is current", map[string]string{"0000-1": done}, "releases/2", "newest=0000-1\ncurrent=releases/1\n", "releases/2 is current, and the plan was made for releases/1: plan again"},
			{"a release went", map[string]string{"0000-1": done}, "", "newest=0000-1\ncurrent=releases/1\n", "no release is current, and the plan was made for releases/1: plan again"},
			{"one that the plan knew is held", map[string]string{"0000-1": held}, "", "newest=0000-1\ncurrent=\n", "run 0000-1 of bob@home has not come to an end, it is held: pipeline unlock finishes it; then plan again"},
			{"one of an earlier version is interrupted", map[string]string{"0000-1": cut}, "", "", "run 0000-1 of bob@home has not come to an end, it is interrupted"},
		} {
			t.Run(shell+" "+tc.name, func(t *testing.T) {
				s := steps{"10-a.do": "echo a >>trace"}
				if tc.planned != "" {
					s["planned"] = tc.planned
				}
				h := newHost(t, env, s)
				for id, journal := range tc.others {
					other := steps{"owner": "by=bob@home\n"}
					if journal != "" {
						other["journal"] = journal
					}
					h.add(filepath.Join(h.dir, "runs", id), other)
				}
				if tc.current != "" {
					if err := os.Symlink(tc.current, filepath.Join(h.dir, "current")); err != nil {
						t.Fatal(err)
					}
				}
				exit, out := h.do("start")
				if tc.said == "" {
					if exit != 0 || h.read("trace") != "a\n" {
						t.Errorf("exit code %d: %s", exit, out)
					}
					return
				}
				if exit != runner.ExitRefused || !strings.Contains(out, tc.said) {
					t.Errorf("exit code %d, want %q in\n%s", exit, tc.said, out)
				}
				if h.read("trace") != "" || h.read("journal") != "" || h.locked() || h.crontab() != ownLine {
					t.Errorf("left behind: trace %q, journal %q, locked %v, crontab\n%s", h.read("trace"), h.read("journal"), h.locked(), h.crontab())
				}
			})
		}
		t.Run(shell+" nothing goes on with a run after which another one was started", func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "echo a >>trace", "journal": cut})
			h.add(filepath.Join(h.dir, "runs", "0002-2"), steps{"journal": done, "owner": "by=bob@home\n"})
			for _, verb := range []string{"resume", "undo"} {
				if exit, out := h.do(verb); exit != runner.ExitRefused || !strings.Contains(out, "run 0002-2 of bob@home was started after run 0001-1.0.0") {
					t.Errorf("%s: exit code %d: %s", verb, exit, out)
				}
			}
			if exit, out := h.do("wake"); exit != 0 || out != "" || h.read("trace") != "" {
				t.Errorf("wake: exit code %d: %s", exit, out)
			}
		})
		t.Run(shell+" a lock that a power cut has emptied", func(t *testing.T) {
			h := newHost(t, env, steps{"10-a.do": "echo a >>trace", "journal": cut})
			if err := os.WriteFile(filepath.Join(h.dir, "lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			other := filepath.Join(h.dir, "runs", "0002-2")
			h.add(other, steps{"10-a.do": "true"})
			if out, err := h.command(other, "start").CombinedOutput(); exitCode(err) != runner.ExitRefused {
				t.Errorf("another run took it: %s", out)
			}
			if exit, out := h.do("resume"); exit != 0 || h.read("trace") != "a\n" || h.locked() {
				t.Errorf("exit code %d, locked %v: %s", exit, h.locked(), out)
			}
		})
	}
}
