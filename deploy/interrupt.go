package deploy

import (
	"context"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// stopLimit is how long a run that was asked to stop has to undo what it did.
const stopLimit = 2 * time.Minute

// awaitInterrupt waits until the context is done, asks the run to stop then, and
// leaves it when it can't be stopped any more or takes too long. It returns at
// once when the run has ended.
func (r *session) awaitInterrupt(ctx, following context.Context, leave func(), ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	r.stop(following)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for !r.output.critical() {
		select {
		case <-ended:
			return
		case <-limit.C:
			leave()
			return
		case <-look.C:
		}
	}
	leave()
}

// stop asks the run to stop. Only the runner knows whether that is still
// possible; it says so in its output.
func (r *session) stop(ctx context.Context) {
	if r.output.critical() {
		r.observe(Event{Kind: CarryingOn})
		return
	}
	r.observe(Event{Kind: Stopping})
	if h := r.conn.get(); h != nil {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		_, _ = h.Run(ctx, runner.Command(r.at.run(r.id), "stop"), host.Options{})
	}
}
