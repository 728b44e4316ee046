//go:build unix

package runner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// TestJournalIsReadAlike holds that the runner on the host and the client read
// the same out of a journal: how the run ended, and which steps are done.
func TestJournalIsReadAlike(t *testing.T) {
	for shell, env := range shells(t) {
		t.Run(shell, func(t *testing.T) {
			for _, tc := range []struct {
				name, journal string // without the times
				status        string
				resumed       string // the steps that resume does
			}{
				{"begun", "run-begin start 1 b", "interrupted", "10-a 20-b 30-c"},
				{"at a step", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b", "interrupted", "20-b 30-c"},
				{"a step was done again", "run-begin start 1 b, begin 10-a, run-begin resume 2 b, begin 10-a, end 10-a 0", "interrupted", "20-b 30-c"},
				{"held, tried again, and interrupted", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, undoing, undo-begin 20-b, undo-end 20-b 1, run-end held 20-b, run-begin resume 2 b", "interrupted", "20-b 30-c"},
				{"held", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, undoing, undo-begin 20-b, undo-end 20-b 1, run-end held 20-b", "held", "20-b 30-c"},
				{"held, with a step undone", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, undoing, undo-begin 20-b, undo-end 20-b 0, undo-begin 10-a, undo-end 10-a 0, run-end held 10-a", "held", "10-a 20-b 30-c"},
				{"held, with a step half undone", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 1, undoing, undo-begin 20-b, undo-end 20-b 0, undo-begin 10-a, undo-end 10-a 1, run-end held 10-a", "held", "10-a 20-b 30-c"},
				{"held, with a step undone before one that has nothing to undo", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 1, undoing, undo-begin 30-c, undo-end 30-c 0, undo-begin 10-a, undo-end 10-a 1, run-end held 10-a", "held", "10-a 20-b 30-c"},
				{"held, resumed, and interrupted at the first step", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 1, undoing, undo-begin 30-c, undo-end 30-c 0, undo-begin 10-a, undo-end 10-a 1, run-end held 10-a, run-begin resume 2 b, begin 10-a, end 10-a 0", "interrupted", "20-b 30-c"},
				{"held, and an undo of the second step was cut off before", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 1, undoing, undo-begin 20-b, run-begin resume 2 b, undoing, undo-begin 20-b, undo-end 20-b 1, run-end held 20-b", "held", "20-b 30-c"},
				{"a line is torn", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b, run-begin resume 2 b, TORN", "interrupted", "20-b 30-c"},
				{"torn everywhere", "TORN, run-begin start 1 b, begin 10-a, TORN, end 10-a 0, NUL, begin 20-b, end 20-b 0, run-end do, end 30-c x", "interrupted", "30-c"},
				{"two lines have become one", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, JOINED end 20-b 0", "interrupted", "20-b 30-c"},
				{"nothing but garbage", "TORN, NUL", "interrupted", "10-a 20-b 30-c"},
				{"undone", "run-begin start 1 b, begin 10-a, end 10-a 1, undoing, run-end undone 10-a", "undone", ""},
				{"done", "run-begin start 1 b, begin 10-a, end 10-a 0, begin 20-b, end 20-b 0, begin 30-c, end 30-c 0, run-end done", "done", ""},
			} {
				t.Run(tc.name, func(t *testing.T) {
					var text strings.Builder
					for _, line := range strings.Split(tc.journal, ", ") {
						switch rest, joined := strings.CutPrefix(line, "JOINED "); {
						case line == "TORN":
							text.WriteString("2026-11-23T23:0\n")
						case line == "NUL":
							text.WriteString("\x00\x00\x00\x00\n")
						case joined:
							text.WriteString("2026-11-23T2" + "2026-11-23T23:00:00Z 1.00 " + rest + "\n")
						default:
							text.WriteString("2026-11-23T23:00:00Z 1.00 " + line + "\n")
						}
					}
					does := "n=${0##*/}; echo \"${n%.do}\" >>trace"
					h := newHost(t, env, steps{"journal": text.String(), "10-a.do": does, "20-b.do": does, "30-c.do": does})
					journal := h.journal()
					_, status := h.do("status")
					if status = strings.TrimSpace(status); status != tc.status {
						t.Errorf("the runner says %s, want %s", status, tc.status)
					}
					if outcome := journal.Outcome(); outcome != "" && string(outcome) != status || outcome == "" && status != "interrupted" {
						t.Errorf("the client says %q, the runner %s", outcome, status)
					}
					h.do("resume")
					if got := strings.Join(strings.Fields(h.read("trace")), " "); got != tc.resumed {
						t.Errorf("resume does %q, want %q", got, tc.resumed)
					}
					for _, step := range []string{"10-a", "20-b", "30-c"} {
						_, name, _ := strings.Cut(step, "-")
						if todo := strings.Contains(tc.resumed, step); tc.resumed != "" && todo == journal.Succeeded(name) {
							t.Errorf("step %s: the runner does it: %v; it succeeded, says the client: %v", step, todo, journal.Succeeded(name))
						}
					}
				})
			}
		})
	}
}

func TestParseJournal(t *testing.T) {
	text := `2026-11-23T23:00:00Z 100.00 run-begin start 77 b00t
2026-11-23T23:00:00Z 100.10 begin 10-a
2026-11-23T23:00:02Z 102.35 end 10-a 0
2026-11-23T23:00:02Z 102.35 begin 20-b
2026-11-23T23:00:03Z 103.00 end 20-b 5
2026-11-23T23:00:03Z 103.00 undoing
2026-11-23T23:00:03Z 103.00 undo-begin 20-b
2026-11-23T23:00:04Z 104.00 undo-end 20-b 4
2026-11-23T23:00:04Z 104.00 run-end held 20-b
2026-11-23T23:00:0`
	j, torn := runner.ParseJournal(text)
	if torn != 1 {
		t.Errorf("%d lines are torn", torn)
	}
	if j.Outcome() != runner.Held {
		t.Errorf("outcome %q", j.Outcome())
	}
	if step, exit := j.Failed(); step != "20-b" || exit != 5 {
		t.Errorf("failed: %s with %d", step, exit)
	}
	took := j.Took()
	if len(took) != 1 || took[0].Step != "10-a" || took[0].Seconds < 2.24 || took[0].Seconds > 2.26 {
		t.Errorf("took %v", took)
	}
	if !j.Began("20-b") || j.Began("30-c") {
		t.Error("does not know what was begun")
	}
	if j[:4].Current() != "20-b" || j[:4].Outcome() != "" || j.Current() != "" {
		t.Error("does not know what is under way")
	}
	if !slices.Equal(j[0].Rest, []string{"77", "b00t"}) {
		t.Errorf("rest %v", j[0].Rest)
	}
	for _, bad := range []string{"hello\n", "now 1 begin x\n", "2026-11-23T23:00:00Z soon begin x\n", "2026-11-23T23:00:00Z 1 end x y\n", "2026-11-23T23:00:00Z 1 end x\n", "2026-11-23T23:00:00Z 1 run-end d\n"} {
		if j, torn := runner.ParseJournal(text + "\n" + bad + "2026-11-23T23:00:05Z 105.00 begin 30-c"); torn != 2 || !j.Began("30-c") {
			t.Errorf("%q: %d lines are torn, and the next is not read", bad, torn)
		}
	}
	if _, ok := runner.ParseLine("Executing a patch"); ok {
		t.Error("a step's own line is taken for the journal's")
	}
}
