package runner

import (
	"maps"
	"regexp"
	"slices"
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
	return parseEntry(text)
}

// Journal is the journal of a run, in the order in which it was written.
type Journal []Entry

// ParseJournal reads a journal. Lines that are not whole, because a power cut or
// a full disk cut them off, are left out, wherever they stand: torn is how many
// there are. The runner leaves out the same.
func ParseJournal(text string) (journal Journal, torn int) {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		entry, ok := parseEntry(line)
		if !ok {
			torn++
			continue
		}
		journal = append(journal, entry)
	}
	return journal, torn
}

// wholeLine is what every line of a journal begins with.
var wholeLine = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d+(\.\d+)? `)

func parseEntry(line string) (Entry, bool) {
	words := strings.Fields(line)
	if len(words) < 3 || !wholeLine.MatchString(strings.Join(words, " ")) {
		return Entry{}, false
	}
	at, err := time.Parse(time.RFC3339, words[0])
	if err != nil {
		return Entry{}, false
	}
	seconds, err := strconv.ParseFloat(words[1], 64)
	if err != nil {
		return Entry{}, false
	}
	entry := Entry{At: at, Seconds: seconds, Event: Event(words[2])}
	rest := words[3:]
	if len(rest) > 0 {
		entry.Name, rest = rest[0], rest[1:]
	}
	switch entry.Event {
	case End, UndoEnd:
		if len(rest) == 0 || strings.Trim(rest[0], "0123456789") != "" {
			return Entry{}, false
		}
		if entry.Exit, err = strconv.Atoi(rest[0]); err != nil {
			return Entry{}, false
		}
		rest = rest[1:]
	case Begin, UndoBegin:
		if entry.Name == "" {
			return Entry{}, false
		}
	case RunEnd:
		switch Outcome(entry.Name) {
		case Done, Undone, Held:
		default:
			return Entry{}, false
		}
	case RunBegin, Undoing:
	default:
		return Entry{}, false
	}
	if len(rest) > 0 {
		entry.Rest = rest
	}
	return entry, true
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

// Succeeded reports whether the step of a name has ended well, and was not begun
// again since, nor one before it or itself undone.
func (j Journal) Succeeded(name string) bool {
	ok, file := false, ""
	for _, e := range j {
		if _, step, _ := strings.Cut(e.Name, "-"); step == name {
			file = e.Name
			ok = e.Event == End && e.Exit == 0
		}
		if e.Event == UndoBegin && e.Name < file {
			ok = false
		}
	}
	return ok
}

// Unsuccessful returns the end of each step that failed and did not succeed
// afterwards, in their order. A run that is done has them only from its part in
// which nothing is undone.
func (j Journal) Unsuccessful() []Entry {
	last := map[string]Entry{}
	for _, e := range j {
		if e.Event == End {
			last[e.Name] = e
		}
	}
	var failed []Entry
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if last[name].Exit != 0 {
			failed = append(failed, last[name])
		}
	}
	return failed
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
