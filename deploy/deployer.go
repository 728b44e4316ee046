package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Deployer carries plans out.
type Deployer struct {
	// Dial connects to the host. It is called again when the connection is
	// lost.
	Dial func(ctx context.Context) (Host, error)
	// Registry connects to the registry of this process, for the host to pull
	// from through the SSH connection. Nil where the host reaches the registry
	// by itself.
	Registry func(ctx context.Context) (net.Conn, error)
	// Tested yields the image as soon as it has passed its smoke test; a run waits for
	// that before it changes what runs. Nil says that it has.
	Tested <-chan release.Image
	// Observe is told what happens, one event at a time and in order; it may be
	// nil.
	Observe func(Event)
	// Detach, when it is closed after the context is done, ends the following
	// of a run that can't be stopped any more: the host carries on by itself.
	// Nil never does.
	Detach <-chan struct{}
	// ReconnectTimeout is how long to try to get a lost connection back. Zero means
	// five minutes.
	ReconnectTimeout time.Duration
}

// Event is something that happens during a run.
type Event struct {
	Kind EventKind
	// Step is the name of the step it is about.
	Step string
	// Seconds is how long a step took by the host's clock, Exit its exit code.
	Seconds float64
	Exit    int
	// Text is a line of a step's output, or what else there is to say.
	Text string
}

// EventKind says what an event is.
type EventKind string

// The kinds of events.
const (
	StepBegan    EventKind = "step began"
	StepEnded    EventKind = "step ended"
	UndoBegan    EventKind = "undo began"
	UndoEnded    EventKind = "undo ended"
	Output       EventKind = "output"
	Noted        EventKind = "noted"        // Text is a line of a step's output that the operator has to know
	Disconnected EventKind = "disconnected" // Text has the reason
	Reconnected  EventKind = "reconnected"
	Stopping     EventKind = "stopping"    // the run is asked to stop
	CarryingOn   EventKind = "carrying on" // the run can't be stopped any more
	Interrupted  EventKind = "interrupted" // its process is gone; it goes on by itself
	// Warned is a step that failed after the release was live. Text says what
	// to do about it.
	Warned EventKind = "warned"
)

// Run carries a plan out for a pushed image, and returns the record of the
// release. When the context is done, a run that has not come to its critical
// part is undone; one that has goes on, and is followed to its end unless Detach
// is closed.
//
// A release that did not go live is a [*FailedError]; one that was stopped by
// request before anything was changed is [ErrInterrupted].
func (d Deployer) Run(ctx context.Context, p Plan, image release.Image) (release.Record, error) {
	p.untested = d.Tested != nil
	r := d.newSession(p, p.runID())
	r.record = p.record(r.id, image)
	if p.Kind == Release && p.set == nil {
		return r.record, r.untouched(errors.New("its plan has problems"))
	}
	defer r.conn.hangUp()
	if err := r.start(ctx); err != nil {
		var failed *FailedError
		switch {
		case errors.As(err, &failed):
			return r.record, err
		case ctx.Err() != nil:
			return r.record, fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(ctx))
		}
		return r.record, r.untouched(err)
	}
	return r.follow(ctx)
}

// session is one run under way, as the client sees it.
type session struct {
	plan    Plan
	at      layout
	id      string
	record  release.Record
	conn    *connection
	output  *output
	observe func(Event)
	detach  <-chan struct{}
	tested  <-chan release.Image
	// passed says that the image has passed its smoke test, if it is waited for.
	passed bool
}

func (d Deployer) newSession(p Plan, id string) *session {
	// What the run says and what a signal brings about come side by side.
	var oneByOne sync.Mutex
	observe := func(e Event) {
		oneByOne.Lock()
		defer oneByOne.Unlock()
		if d.Observe != nil {
			d.Observe(e)
		}
	}
	timeout := d.ReconnectTimeout
	if timeout <= 0 {
		timeout = defaultReconnectTimeout
		if d.Tested != nil {
			timeout = quietLimit // for as long as the run waits for a word
		}
	}
	steps := p.runSpec("", "").steps()
	return &session{
		plan: p, at: layout{p.Target.Dir}, id: id, observe: observe, detach: d.Detach, tested: d.Tested,
		conn:   &connection{dial: d.Dial, registry: d.Registry, observe: observe, timeout: timeout},
		output: &output{observe: observe, firstCritical: firstOf(steps, criticalPart), firstSettled: firstOf(steps, settledPart), began: map[string]float64{}},
	}
}
