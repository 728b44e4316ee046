// Package progress shows what becomes of a build: [Screen] while it
// runs, on a terminal, and [Timeline] afterwards, as a page for a browser and
// a table for a job summary. Both are fed with the same events. [NewLines]
// finds out what the running commands print.
package progress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is what happened to a stage.
type Kind int

// The kinds of events. Of a stage, Began comes first and Ended last.
const (
	Began Kind = iota + 1
	Line
	Ended
)

func (k Kind) String() string {
	switch k {
	case Began:
		return "began"
	case Line:
		return "line"
	case Ended:
		return "ended"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Event is a moment in the life of a stage.
type Event struct {
	// Stage is the stage's unique name, for instance "assets hrms".
	Stage string
	Kind  Kind
	// At is the moment, by the caller's clock.
	At time.Time
	// Text is what the running command printed last; of Line.
	Text string
	// Cached says that there was nothing to do; of Ended.
	Cached bool
	// Err is why the stage failed, if it did; of Ended.
	Err error
	// Needs are the names of the stages that it waited for; of Began.
	Needs []string
}

// state is how a stage stands.
type state string

const (
	running state = "running"
	made    state = "made"
	cached  state = "cached"
	failed  state = "failed"
	// stopped is a stage that was given up because another one failed.
	stopped state = "stopped"
)

// outcome is the state that an event of kind Ended leaves behind.
func (e Event) outcome() state {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return stopped
	case e.Err != nil:
		return failed
	case e.Cached:
		return cached
	}
	return made
}

// took returns a duration as text, with no more digits than are read.
func took(d time.Duration) string {
	d = max(d, 0)
	// Rounded first: 99.96 seconds must not become 100.0s.
	if d = d.Round(100 * time.Millisecond); d < 100*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// firstLine is the first line of an error that has something in it.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	for line := range strings.Lines(err.Error()) {
		if line = clean(line); line != "" {
			return line
		}
	}
	return ""
}
