package deploy

import (
	"context"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// stopLimit is how long a run that was asked to stop has to undo what it did.
const stopLimit = 2 * time.Minute

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
	stopped := r.stop(following)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for stopped && !r.output.critical() {
		select {
		case <-ended:
			return
		case <-limit.C:
			leave()
			return
		case <-look.C:
		}
	}
	if stopped {
		// It was at that part when it was asked.
		r.observe(Event{Kind: CarryingOn})
	}
	r.awaitDetach(leave, ended)
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

// stop asks the run to stop, and reports whether it did: not where it is too
// late. Only the runner knows whether stopping is still possible; it says so in
// its output.
func (r *session) stop(ctx context.Context) bool {
	if r.output.critical() {
		r.observe(Event{Kind: CarryingOn})
		return false
	}
	r.observe(Event{Kind: Stopping})
	if h := r.conn.get(); h != nil {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		_, _ = h.Run(ctx, runner.Command(r.at.run(r.id), "stop"), host.Options{})
	}
	return true
}
