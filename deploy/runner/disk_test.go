//go:build unix

package runner_test

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// TestOnDiskBeforeItIsSaid: what a step has written is on the disk before the
// journal says that the step has ended, whether this host's sync knows file
// systems or not.
func TestOnDiskBeforeItIsSaid(t *testing.T) {
	for shell, env := range shells(t) {
		for knows, want := range map[string]string{
			"true":  "-f . | begin 10-a, journal | end 10-a 1, journal | undoing, journal | undo-begin 10-a, -f . | undo-begin 10-a, journal | undo-end 10-a 0, journal | run-end undone 10-a",
			"false": "all | begin 10-a, journal | end 10-a 1, journal | undoing, journal | undo-begin 10-a, all | undo-begin 10-a, journal | undo-end 10-a 0, journal | run-end undone 10-a",
		} {
			t.Run(shell+" "+knows, func(t *testing.T) {
				h := newHost(t, env, steps{"10-a.do": "exit 1", "10-a.undo": "true"})
				h.tool("sync", `case $1 in -f) `+knows+` || exit 1 ;; esac; echo "${*:-all} | $(tail -n 1 journal 2>/dev/null | cut -d " " -f 3-)" >>synced`)
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
