package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// wakeLimit is how long a run that was interrupted has to go on by itself. The
// crontab wakes it every minute.
const wakeLimit = 90 * time.Second

// follow follows the run to its end.
func (r *session) follow(ctx context.Context) (release.Record, error) {
	// The context that was given ends the following only after the run had its
	// chance to stop.
	following, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	ended := make(chan struct{})
	interrupted := make(chan struct{})
	go func() {
		defer close(interrupted)
		r.awaitInterrupt(ctx, following, leave, ended)
	}()

	log := r.at.log(r.id)
	var state host.JobState
	err := r.conn.do(following, func(h Host) error {
		var err error
		r.output.offset, state, err = h.Follow(following, log, log, r.output.offset, r.output)
		return outcomeUnknown(err)
	})
	outcome := outcomeOf(state)
	if err == nil && outcome == "" {
		outcome, err = r.catchUp(following)
	}
	close(ended)
	<-interrupted
	if err != nil {
		return r.record, r.unknown(ctx, err)
	}
	return r.ended(ctx, outcome)
}

// outcomeUnknown returns an error that is not taken for the end of the run where
// the host only could not say how far it is.
func outcomeUnknown(err error) error {
	var answer *host.RunError
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, errors.New(answer.Error()))
	}
	return err
}

// catchUp follows a run whose first process is gone: the host was restarted,
// or something killed it. It goes on by itself. An empty outcome is a run that
// does not.
func (r *session) catchUp(ctx context.Context) (RunStatus, error) {
	var since time.Time
	for {
		var status RunStatus
		err := r.conn.do(ctx, func(h Host) error {
			result, err := h.Run(ctx, script(progressScript, r.at.run(r.id), strconv.FormatInt(r.output.offset, 10)), host.Options{})
			if err != nil {
				return outcomeUnknown(err)
			}
			word, text, _ := strings.Cut(result.Stdout, "\n")
			status = RunStatus(word)
			r.output.offset += int64(len(text))
			_, _ = r.output.Write([]byte(text))
			return nil
		})
		if err != nil {
			return "", err
		}
		switch status {
		case RunDone, RunUndone, RunHeld:
			return status, nil
		case RunRunning:
			since = time.Time{}
		default:
			if since.IsZero() {
				since = time.Now()
				r.observe(Event{Kind: Interrupted})
			}
			if time.Since(since) > wakeLimit {
				return "", nil
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
