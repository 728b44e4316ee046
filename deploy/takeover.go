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

// TakeOver finishes the run that was interrupted or that is held, with the verb
// "resume" or "undo" of its runner, and follows it as [Deployer.Run] does.
func (d Deployer) TakeOver(ctx context.Context, s State, t Target, verb string) (release.Record, error) {
	if s.LastRun == nil || s.LastRun.Status != RunInterrupted && s.LastRun.Status != RunHeld {
		return release.Record{}, ErrNothingToTakeOver
	}
	id := s.LastRun.ID
	p := Plan{Kind: Release, Target: t, Version: versionOf(id)}
	if s.Current != nil {
		p.Previous = s.Current.Version
	}
	r := d.newSession(p, id)
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
	job, err := r.conn.get().StartDetached(ctx, script(`sh "$1/runner" "$2" >>"$1/log" 2>&1`, dir, verb), log)
	if err != nil {
		return r.record, fmt.Errorf("%s run %s: %w", verb, id, err)
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
	err = r.conn.do(following, func(h Host) error {
		_, err := h.Run(following, script(awaitRunnerScript, dir, strconv.Itoa(lines), strconv.Itoa(job.PID)), host.Options{})
		return err
	})
	var outcome RunStatus
	if err == nil {
		outcome, err = r.catchUp(following)
	}
	end()
	if err != nil {
		return r.record, r.unknown(following, err)
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
	size, rest, _ := strings.Cut(before.Stdout, "\n")
	critical, journal, _ := strings.Cut(rest, "\n")
	r.output.firstCritical = critical
	if r.output.offset, err = strconv.ParseInt(strings.TrimSpace(size), 10, 64); err != nil {
		return 0, err
	}
	r.output.journal, err = runner.ParseJournal(journal)
	return strings.Count(journal, "\n"), err
}

// versionOf returns the version in the name of a run.
func versionOf(id string) string {
	_, rest, _ := strings.Cut(id, "-")
	if end := strings.LastIndex(rest, "-"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}
