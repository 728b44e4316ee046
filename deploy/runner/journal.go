package runner

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Event is what a line of the journal says.
type Event string

// The events. Details are the step, or for RunBegin the verb, and for RunEnd
// the outcome; then what is named in brackets.
const (
	RunBegin  Event = "run-begin" // verb [process, boot]
	Begin     Event = "begin"     // step
	End       Event = "end"       // step [exit code]
	Undoing   Event = "undoing"
	UndoBegin Event = "undo-begin" // step
	UndoEnd   Event = "undo-end"   // step [exit code]
	RunEnd    Event = "run-end"    // outcome [step that failed]
)

// Outcome is how a run ended.
type Outcome string

// The outcomes.
const (
	// Done means that every step succeeded.
	Done Outcome = "done"
	// Undone means that a step failed, or the run was stopped, and that all
	// steps begun were undone.
	Undone Outcome = "undone"
	// Held means that undoing a step failed: the operator is needed.
	Held Outcome = "held"
)

// Entry is a line of the journal.
type Entry struct {
	// At is the host's time.
	At time.Time `json:"at"`
	// Seconds since the host was started, to measure with.
	Seconds float64 `json:"seconds"`
	Event   Event   `json:"event"`
	// Name is the step, the verb or the outcome.
	Name string `json:"name,omitempty"`
	// Exit is the exit code of End and UndoEnd.
	Exit int `json:"exit,omitempty"`
	// Rest is what else the line has.
	Rest []string `json:"rest,omitempty"`
}

// mark stands before a line of the journal in the runner's output.
const mark = "@journal "

// ParseLine reads a line of the runner's output; ok is false for a line that
// is a step's own.
func ParseLine(line string) (entry Entry, ok bool) {
	text, ok := strings.CutPrefix(line, mark)
	if !ok {
		return Entry{}, false
	}
	entry, err := parseEntry(text)
	return entry, err == nil
}

// Journal is the journal of a run, in the order in which it was written.
type Journal []Entry

// ParseJournal reads a journal. A last line that was cut off, because the host
// stopped or its disk was full, is left out.
func ParseJournal(text string) (Journal, error) {
	var journal Journal
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		entry, err := parseEntry(strings.TrimSpace(line))
		if err != nil {
			return journal, fmt.Errorf("read journal: %w", err)
		}
		journal = append(journal, entry)
	}
	return journal, nil
}

func parseEntry(line string) (Entry, error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return Entry{}, fmt.Errorf("%q is no line of a journal", line)
	}
	at, err := time.Parse(time.RFC3339, words[0])
	if err != nil {
		return Entry{}, fmt.Errorf("%q is no line of a journal: %w", line, err)
	}
	seconds, err := strconv.ParseFloat(words[1], 64)
	if err != nil {
		return Entry{}, fmt.Errorf("%q is no line of a journal: %w", line, err)
	}
	entry := Entry{At: at, Seconds: seconds, Event: Event(words[2])}
	rest := words[3:]
	if len(rest) > 0 {
		entry.Name, rest = rest[0], rest[1:]
	}
	if (entry.Event == End || entry.Event == UndoEnd) && len(rest) > 0 {
		if entry.Exit, err = strconv.Atoi(rest[0]); err != nil {
			return Entry{}, fmt.Errorf("%q is no line of a journal: %w", line, err)
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		entry.Rest = rest
	}
	return entry, nil
}

// Outcome returns how the run ended, or nothing if it has not, or goes on again.
func (j Journal) Outcome() Outcome {
	var outcome Outcome
	for _, e := range j {
		switch e.Event {
		case RunBegin:
			outcome = ""
		case RunEnd:
			outcome = Outcome(e.Name)
		}
	}
	return outcome
}

// Failed returns the step that failed last and its exit code, if one did.
func (j Journal) Failed() (step string, exit int) {
	for _, e := range j {
		if e.Event == End && e.Exit != 0 {
			step, exit = e.Name, e.Exit
		}
	}
	return step, exit
}

// Succeeded reports whether the step of a name has ended well and was not begun
// again since.
func (j Journal) Succeeded(name string) bool {
	ok := false
	for _, e := range j {
		if _, step, _ := strings.Cut(e.Name, "-"); step == name {
			ok = e.Event == End && e.Exit == 0
		}
	}
	return ok
}

// Began reports whether a step was ever begun.
func (j Journal) Began(step string) bool {
	for _, e := range j {
		if e.Event == Begin && e.Name == step {
			return true
		}
	}
	return false
}

// Current returns the step that was begun last and has not ended, if there is
// one.
func (j Journal) Current() string {
	current := ""
	for _, e := range j {
		switch e.Event {
		case Begin, UndoBegin:
			current = e.Name
		case End, UndoEnd:
			current = ""
		}
	}
	return current
}

// Last returns the name of the step that was begun last, and whether it was
// being undone.
func (j Journal) Last() (step string, undoing bool) {
	for _, e := range j {
		switch e.Event {
		case Begin, UndoBegin:
			_, step, _ = strings.Cut(e.Name, "-")
			undoing = e.Event == UndoBegin
		}
	}
	return step, undoing
}

// Took returns how many seconds each step took at its last, successful attempt,
// in the order of the steps. A restart of the host sets its clock back to
// zero; a step during which that happened counts as 0 seconds.
func (j Journal) Took() []Duration {
	began := map[string]float64{}
	var took []Duration
	for _, e := range j {
		switch {
		case e.Event == Begin:
			began[e.Name] = e.Seconds
		case e.Event == End && e.Exit == 0:
			took = append(took, Duration{Step: e.Name, Seconds: max(0, e.Seconds-began[e.Name])})
		}
	}
	return took
}

// Duration is how long a step took.
type Duration struct {
	Step    string
	Seconds float64
}
