package deploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// ErrNothingToTakeOver is a host on which no run waits for the operator.
var ErrNothingToTakeOver = errors.New("no run was interrupted, and none is held")

// ErrSettled is a run that can't be undone any more.
var ErrSettled = errors.New("the run is past the point where it can be undone: its release is live")

// TakeOver finishes the run that was interrupted or that is held, with the verb
// "resume" or "undo" of its runner, and follows it as [Deployer.Run] does.
func (d Deployer) TakeOver(ctx context.Context, s State, t Target, verb string) (release.Record, error) {
	if s.LastRun == nil || s.LastRun.Status != RunInterrupted && s.LastRun.Status != RunHeld {
		return release.Record{}, ErrNothingToTakeOver
	}
	if verb == "undo" && s.LastRun.Settled {
		return release.Record{}, ErrSettled
	}
	id := s.LastRun.ID
	r := d.newSession(Plan{Kind: Release, Target: t, Version: versionOf(id)}, id)
	r.record.Run = id
	defer r.conn.hangUp()
	if err := r.conn.connect(ctx); err != nil {
		return r.record, err
	}
	lines, err := r.readState(ctx)
	if err != nil {
		return r.record, fmt.Errorf("look at run %s: %w", id, err)
	}
	dir := r.at.run(id)
	log := path.Join(dir, "taken-over-"+strings.ToLower(rand.Text()[:6]))
	var job host.Job
	starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
	defer cancel()
	err = r.conn.do(starting, func(h Host) error {
		// A second attempt finds the mark of the first, if that came through.
		var err error
		job, err = h.StartDetached(starting, script(`sh "$1/runner" "$2" >>"$1/log" 2>&1`, dir, verb), log)
		if errors.Is(err, host.ErrExists) {
			return nil
		}
		return err
	})
	if err != nil {
		return r.record, r.startUnknown(err)
	}
	following, end := r.following(ctx, func(ctx, _ context.Context, leave func(), ended <-chan struct{}) {
		select {
		case <-ended:
		case <-ctx.Done():
			r.observe(Event{Kind: CarryingOn})
			r.awaitDetach(leave, ended)
		}
	})
	defer end()
	refused := false
	err = r.conn.do(following, func(h Host) error {
		result, err := h.Run(following, script(awaitRunnerScript, dir, strconv.Itoa(lines), strconv.Itoa(job.PID), log), host.Options{})
		refused = strings.TrimSpace(result.Stdout) == strconv.Itoa(runner.ExitRefused)
		return outcomeUnknown(err)
	})
	var outcome RunStatus
	switch {
	case err != nil:
	case refused:
		_, err = r.progress(following)
	default:
		outcome, err = r.catchUp(following)
	}
	end()
	switch {
	case err != nil:
		return r.record, r.unknown(following, err)
	case refused:
		return r.record, fmt.Errorf("%s run %s: %w", verb, id, r.refusal())
	case outcome == RunUndone:
		// Whoever asked to stop meanwhile: it was begun before.
		ctx = context.WithoutCancel(ctx)
	}
	return r.ended(ctx, outcome)
}

// readState takes in how far a run that another client started has come, and
// returns how many lines its journal has. What is in its log already is not
// shown again.
func (r *session) readState(ctx context.Context) (lines int, err error) {
	before, err := r.conn.get().Run(ctx, script(runStateScript, r.at.run(r.id)), host.Options{})
	if err != nil {
		return 0, err
	}
	said := strings.SplitN(before.Stdout, "\n", 5)
	if len(said) < 5 {
		return 0, errors.New("its answer was cut off")
	}
	if r.output.offset, err = strconv.ParseInt(strings.TrimSpace(said[0]), 10, 64); err != nil {
		return 0, err
	}
	r.output.firstCritical, r.output.firstSettled = said[1], said[2]
	// What is live need not be it: the run may have put its own in its place.
	r.plan.Previous = said[3]
	journal := said[4]
	r.output.journal, _ = runner.ParseJournal(journal)
	lines = strings.Count(journal, "\n")
	if journal != "" && !strings.HasSuffix(journal, "\n") {
		lines++ // the runner ends what was cut off
	}
	return lines, nil
}

// versionOf returns the version in the name of a run.
func versionOf(id string) string {
	_, rest, _ := strings.Cut(id, "-")
	if end := strings.LastIndex(rest, "-"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}
