package deploy

import (
	"context"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// stopLimit is how long a run that was asked to stop has to undo what it did;
// stopAgain is after how long it is asked again.
const (
	stopLimit = 2 * time.Minute
	stopAgain = 2 * time.Second
)

// awaitInterrupt waits until the context is done, and asks the run to stop then.
// One that can't be stopped any more is followed to its end, or until it is told
// to detach; one that takes too long to be undone is left. It returns at once
// when the run has ended.
func (r *session) awaitInterrupt(ctx, following context.Context, leave func(), ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	if !r.output.critical() {
		r.observe(Event{Kind: Stopping})
		if over := r.awaitStop(following, leave, ended); over {
			return
		}
	}
	// It was at that part when it was asked.
	r.observe(Event{Kind: CarryingOn})
	r.awaitDetach(leave, ended)
}

// awaitStop asks the run to stop until it has ended, or is left because that
// takes too long: then it is over. It is not where the run can't be stopped any
// more.
func (r *session) awaitStop(following context.Context, leave func(), ended <-chan struct{}) (over bool) {
	asking, cancel := context.WithCancel(following)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		r.keepStopping(asking)
	}()
	defer func() { cancel(); <-asked }()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for !r.output.critical() {
		select {
		case <-ended:
			return true
		case <-limit.C:
			leave()
			return true
		case <-look.C:
		}
	}
	return false
}

// awaitDetach leaves a run that goes on when it is told to detach. It returns at
// once when the run has ended.
func (r *session) awaitDetach(leave func(), ended <-chan struct{}) {
	select {
	case <-ended:
	case <-r.detach:
		leave()
	}
}

// keepStopping asks the run to stop, again and again: that may not arrive, or
// come before its runner works or while the run waits to be woken. Only the
// runner knows whether stopping is still possible; it says so in its output.
func (r *session) keepStopping(ctx context.Context) {
	for ctx.Err() == nil {
		// Who follows the run makes a connection that is lost again.
		if h := r.conn.get(); h != nil {
			once, cancel := context.WithTimeout(ctx, 15*time.Second)
			_, _ = h.Run(once, runner.Command(r.at.run(r.id), "stop"), host.Options{})
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(stopAgain):
		}
	}
}
