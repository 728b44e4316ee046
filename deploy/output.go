package deploy

import (
	"slices"
	"strings"
	"sync"

	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// tailLines is how much of a step's output is kept.
const tailLines = 400

// output is what was read of a run's output so far: the runner's lines, which
// are those of the journal, and what the steps print.
type output struct {
	observe func(Event)
	// firstCritical and firstSettled are the file names of the first step of
	// these parts; firstSettled is empty for a run of a version without it.
	firstCritical, firstSettled string
	// offset is how many bytes of the log were read; partial is the beginning of
	// a line.
	offset  int64
	partial string

	mu      sync.Mutex // for the journal
	journal runner.Journal
	began   map[string]float64
	tail    []string // of the step under way
	reason  []string // of the step that failed
	notes   []string // what steps have to say to the operator
}

// Write takes in what the runner prints.
func (o *output) Write(p []byte) (int, error) {
	text := o.partial + string(p)
	for {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			o.partial = text
			return len(p), nil
		}
		o.line(line)
		text = rest
	}
}

func (o *output) line(line string) {
	if line == "" {
		return
	}
	entry, ok := runner.ParseLine(line)
	if !ok {
		event := Event{Kind: Output, Step: stepName(o.journal.Current()), Text: line}
		for _, prefix := range []string{"note: ", "warning: "} {
			// A step that was cut off says it once more.
			if note, ok := strings.CutPrefix(line, prefix); ok && !slices.Contains(o.notes, note) {
				o.notes = append(o.notes, note)
				event.Kind = Noted
			}
		}
		if o.tail = append(o.tail, line); len(o.tail) > tailLines {
			o.tail = o.tail[1:]
		}
		o.observe(event)
		return
	}
	o.mu.Lock()
	o.journal = append(o.journal, entry)
	o.mu.Unlock()
	event := Event{Step: stepName(entry.Name), Exit: entry.Exit}
	switch entry.Event {
	case runner.Begin, runner.UndoBegin:
		event.Kind = StepBegan
		if entry.Event == runner.UndoBegin {
			event.Kind = UndoBegan
		}
		o.tail = nil
		o.began[entry.Name] = entry.Seconds
	case runner.End, runner.UndoEnd:
		event.Kind = StepEnded
		if entry.Event == runner.UndoEnd {
			event.Kind = UndoEnded
		}
		event.Seconds = max(0, entry.Seconds-o.began[entry.Name])
	default:
		return
	}
	o.observe(event)
	if entry.Event == runner.End && entry.Exit != 0 {
		// What undoing prints is about something else.
		o.reason = o.tail
		o.tail = nil
	}
}

// critical reports whether the run has come to its critical part.
func (o *output) critical() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.journal.Began(o.firstCritical)
}

// settled reports whether the run has come to the part in which nothing is
// undone.
func (o *output) settled() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return pastUndoing(o.journal, o.firstSettled)
}

// pastUndoing reports whether a run has come to the part in which nothing is
// undone, of which first is the first step.
func pastUndoing(journal runner.Journal, first string) bool {
	return first != "" && journal.Succeeded(recordStep)
}
