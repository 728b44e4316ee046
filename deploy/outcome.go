package deploy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// outcomeOf returns what the runner's exit code says, or nothing where its
// process was ended from outside.
func outcomeOf(state host.JobState) RunStatus {
	if state.Phase == host.JobExited {
		switch state.Exit {
		case runner.ExitDone:
			return RunDone
		case runner.ExitUndone:
			return RunUndone
		case runner.ExitHeld:
			return RunHeld
		case runner.ExitRefused:
			return RunNotStarted
		}
	}
	return ""
}

// ended returns the record of a run that has ended, or the error that says how.
func (r *session) ended(ctx context.Context, outcome RunStatus) (release.Record, error) {
	r.output.line(r.output.partial)
	switch outcome {
	case RunDone:
		return r.done(ctx)
	case RunUndone:
		return r.record, r.undone(ctx)
	case RunHeld:
		return r.record, r.held()
	case RunNotStarted:
		r.discard(ctx)
		f := r.failed(NothingChanged, "as it was: this run changed nothing")
		f.Err, f.Log, f.Detail = r.refusal(), "", ""
		return r.record, f
	}
	return r.record, r.interrupted()
}

// refusal returns why the host refused what it was asked for: the runner's last
// words, which one that was killed has none of.
func (r *session) refusal() error {
	if n := len(r.output.tail); n > 0 {
		return fmt.Errorf("the host refused it: %s", r.output.tail[n-1])
	}
	return errors.New("the host refused it, or ended it before it began")
}

// done returns the record as the host has it now, and says what failed after the
// release was live.
func (r *session) done(ctx context.Context) (release.Record, error) {
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	record := r.record
	err := r.conn.do(reading, func(h Host) error {
		records, _, err := History(reading, h, r.plan.Target)
		for _, one := range records {
			if one.Run == r.id {
				record = one
			}
		}
		return err
	})
	if err != nil {
		// It is live all the same; only the downtime is not known here.
		record = r.record
		complete(&record, r.output.journal, "")
	}
	record.Warnings = warnings(r.output.journal)
	for _, w := range record.Warnings {
		r.observe(Event{Kind: Warned, Step: w.Step, Exit: w.Exit, Text: w.Remedy})
	}
	record.Notes = r.output.notes
	return record, nil
}

// diskFull matches what MariaDB and others say where a disk is full: 28 is the
// kernel's number for it, and 135 and 1114 are MariaDB's.
var diskFull = regexp.MustCompile(`No space left on device|[Ee]rrno: (28|135)\b|Errcode: 28\b|The table '.*' is full|Can\\?'t change size of file|\(1114, `)

// failed returns the error of a run that did not succeed, with what is known of
// the reason.
func (r *session) failed(state HostState, site string) *FailedError {
	f := &FailedError{State: state, Kind: r.plan.Kind, Version: r.plan.Version, Site: site, Log: r.at.log(r.id), Notes: r.output.notes}
	var file string
	file, f.Exit = r.output.journal.Failed()
	f.Step = stepName(file)
	said := r.output.reason
	if said == nil {
		said = r.output.tail
	}
	text := strings.Join(said, "\n")
	f.Detail = strings.Join(said[max(0, len(said)-15):], "\n")
	if f.Step == "migrate" {
		if patch, ok := bench.FailedPatch(text); ok {
			f.Patch = &patch
			what := "the patch " + patch.Name
			if patch.File() != "" {
				what = patch.File() + " in the app " + patch.App()
			}
			if diskFull.MatchString(text) {
				f.Next = []string{"the database found no room: make some on the host (df shows where it lacks), and release again under a new version"}
				return f
			}
			f.Next = []string{
				"correct " + what + ", and release under a new version",
				"or leave the patch out: take its line out of patches.txt in a new version of the app, or mark it as done with a document Patch Log that has the whole line (pipeline bench -- --site " + patch.Site + " console)",
			}
		}
		if bench.LockRefused(text) {
			f.Err = errors.New("another migrate was running on the site")
		}
	}
	return f
}

// untouched returns the error of a failure before there was a run, or of one that was refused.
func (r *session) untouched(err error) error {
	f := r.failed(NothingChanged, r.before("as it was: nothing was changed on the host"))
	f.Err, f.Log = err, ""
	return f
}

// before returns what is live when nothing changed.
func (r *session) before(text string) string {
	if r.plan.Previous == "" {
		return text
	}
	return r.plan.Previous + " is live, " + text
}

// undone returns the error of a run that was undone.
func (r *session) undone(ctx context.Context) error {
	if !r.output.critical() {
		if _, exit := r.output.journal.Failed(); ctx.Err() != nil && (exit == 0 || exit > 128) {
			return fmt.Errorf("%w: %w", ErrInterrupted, context.Canceled)
		}
		return r.failed(NothingChanged, r.before("as it was: nothing was changed"))
	}
	if r.plan.Previous == "" {
		return r.failed(RolledBack, "there is none, as before: its containers were taken down again, volumes are left")
	}
	return r.failed(RolledBack, r.plan.Previous+" is live again and answers")
}

// byHand returns the command line for a verb on the run.
func (r *session) byHand(verb string) string {
	return host.Quote(runner.Command(r.at.run(r.id), verb))
}

// held returns the error of a run that could not put everything back.
func (r *session) held() error {
	f := r.failed(NeedsPerson, "held, and it may be closed: putting everything back did not succeed, and nothing more is touched")
	var undoing string
	for _, e := range r.output.journal {
		if e.Event == runner.UndoEnd && e.Exit != 0 {
			undoing = stepName(e.Name)
		}
	}
	if undoing != "" {
		f.Notes = append(f.Notes, "what failed while putting everything back: "+undoing+"\n"+strings.Join(r.output.tail[max(0, len(r.output.tail)-10):], "\n"))
	}
	cause := "find the cause in the log, and remove it"
	if diskFull.MatchString(f.Detail + "\n" + strings.Join(f.Notes, "\n")) {
		cause = "make room on the host, where a disk is full (df shows which)"
	}
	f.Next = []string{
		cause,
		"then put everything back: pipeline unlock --undo, or on the host: " + r.byHand("undo"),
		"or try the step that failed again, and go on: pipeline unlock --resume, or on the host: " + r.byHand("resume"),
		"the backups of the sites: " + r.at.backup(r.id) + " on the host",
	}
	return f
}

// interrupted returns the error of a run whose process ended before its end, and that did not go
// on by itself.
func (r *session) interrupted() error {
	f := r.failed(NeedsPerson, "not known: the run ended before its end, by a restart of the host or because its process was killed, and has not gone on")
	f.Step = stepName(r.output.journal.Current())
	f.Exit = 0
	f.Next = []string{"to carry on: pipeline unlock --resume, or on the host: " + r.byHand("resume")}
	if r.output.settled() {
		f.Site = r.plan.Version + " is live; the run ended before its end, by a restart of the host or because its process was killed, and has not gone on"
		return f
	}
	f.Next = append(f.Next, "to go back: pipeline unlock --undo, or on the host: "+r.byHand("undo"))
	return f
}

// unknown returns the error of a run that goes on without being followed any
// more in a context of [session.following].
func (r *session) unknown(following context.Context, err error) error {
	f := r.failed(NeedsPerson, "the host carries on by itself, and finishes or puts everything back")
	if r.output.settled() {
		f.Site = r.plan.Version + " is live; the host carries on by itself with what is left to do"
	}
	if r.tested != nil && !r.passed {
		f.State, f.Site = NothingChanged, r.before("as it was: the run waits for the smoke test, and ends by itself within minutes")
	}
	f.Step, f.Exit, f.Detail = "", 0, ""
	f.Err = err
	if errors.Is(context.Cause(following), errLeft) {
		f.Err = errLeft
	}
	f.Next = []string{"see what became of it: pipeline status, or on the host: " + r.byHand("status")}
	return f
}
