package deploy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// wakeLimit is how long a run that was interrupted has to go on by itself. It is
// woken every minute.
const wakeLimit = 90 * time.Second

// follow follows the run to its end.
func (r *session) follow(ctx context.Context) (release.Record, error) {
	following, end := r.following(ctx, r.await)
	defer end()
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
	end()
	if err != nil {
		return r.record, r.unknown(following, err)
	}
	return r.ended(ctx, outcome)
}

// errLeft is why a run is not followed any more, where that was asked for.
var errLeft = errors.New("no longer watched, by request")

// following returns the context in which a run is followed. That which is given
// does not end it; await may, and runs until the end is called.
func (r *session) following(ctx context.Context, await func(ctx, following context.Context, leave func(), ended <-chan struct{})) (context.Context, func()) {
	following, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ended, awaited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(awaited)
		await(ctx, following, func() { cancel(errLeft) }, ended)
	}()
	return following, sync.OnceFunc(func() {
		close(ended)
		<-awaited
		cancel(nil)
	})
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

// progress reads what the log of the run has more, and returns what the run is
// doing.
func (r *session) progress(ctx context.Context) (status RunStatus, err error) {
	err = r.conn.do(ctx, func(h Host) error {
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
	return status, err
}

// catchUp follows a run whose first process is gone: the host was restarted,
// or something killed it. It goes on by itself. An empty outcome is a run that
// does not.
func (r *session) catchUp(ctx context.Context) (RunStatus, error) {
	var since time.Time
	for {
		status, err := r.progress(ctx)
		if err != nil {
			return "", err
		}
		switch status {
		case RunDone, RunUndone, RunHeld, RunNotStarted:
			// One whose journal does not say that it began is woken by nothing.
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
