//go:build unix

package runner_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// TestKilledAroundTheLock kills a run while it changes the crontab, before its
// first step or after its last: its lock keeps no other run from its turn, and
// what wakes the run removes both, where it is left.
func TestKilledAroundTheLock(t *testing.T) {
	for shell, env := range shells(t) {
		for _, tc := range []struct {
			name, change  string // the change at which it is killed
			before, armed bool   // before the change is made; whether it is woken then
			status        string
		}{
			{"as it begins", "1", false, true, "not-started"},
			{"as it begins, before it is woken", "1", true, false, "not-started"},
			{"as it ends", "2", true, true, "done"},
			{"as it ends, when it is not woken any more", "2", false, false, "done"},
		} {
			t.Run(shell+" "+tc.name, func(t *testing.T) {
				h := newHost(t, env, steps{"10-a.do": "echo a >>trace"})
				sh := h.sh()
				kill, write := `kill -9 $(sed -n "s/^pid=//p" "${CRONTAB%/*}/lock")`, `cat >"$CRONTAB"`
				at := write + "; " + kill
				if tc.before {
					at = kill
				}
				h.tool("crontab", `[ "$1" = -l ] && exec cat "$CRONTAB"
echo >>"$CRONTAB.changes"; if [ "$(wc -l <"$CRONTAB.changes")" -eq `+tc.change+` ]; then `+at+`; else `+write+`; fi`)
				do := func(run, verb string) (string, error) {
					cmd := exec.Command(sh, runner.Command(run, verb)[1:]...)
					cmd.Env = h.env
					out, err := cmd.CombinedOutput()
					return string(out), err
				}
				_, _ = do(h.run, "start")
				if word, _ := do(h.run, "status"); strings.TrimSpace(word) != tc.status || !h.locked() {
					t.Fatalf("status %s, locked: %v", word, h.locked())
				}
				until(t, "the crontab", func() bool { return strings.Contains(h.crontab(), "wake") == tc.armed })
				if tc.armed {
					if out, err := do(h.run, "wake"); err != nil || h.locked() || h.crontab() != ownLine {
						t.Errorf("wake: %v: %s; locked: %v, crontab\n%s", err, out, h.locked(), h.crontab())
					}
				}
				other := filepath.Join(h.dir, "runs", "0002-1.0.1")
				h.add(other, steps{"10-a.do": "echo b >>../../trace"})
				if out, err := do(other, "start"); err != nil || h.locked() || h.crontab() != ownLine {
					t.Errorf("another run: %v: %s; locked: %v, crontab\n%s", err, out, h.locked(), h.crontab())
				}
			})
		}
	}
}
