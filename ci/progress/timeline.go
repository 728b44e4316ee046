package progress

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Timeline collects events and shows when which stage ran. Its zero value is
// ready to use, by several goroutines.
type Timeline struct {
	// Title stands at the top of the page.
	Title string
	// Hide takes secrets out of a text. It sees texts before they are
	// escaped, which a writer behind this does not. It may be nil.
	Hide func(string) string

	mu     sync.Mutex
	stages []*span
	latest time.Time
}

// span is a stage from its beginning to its end.
type span struct {
	name         string
	began, ended time.Time
	state        state
	err          error
	needs        []string
}

func (s span) took() time.Duration { return s.ended.Sub(s.began) }

// Stages are the names of all stages so far, in the order of their beginnings.
func (t *Timeline) Stages() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make([]string, len(t.stages))
	for i, s := range t.stages {
		names[i] = s.name
	}
	return names
}

// Row is a stage in a table.
type Row struct {
	Stage string
	// Start is how long after the first stage it began.
	Start, Took time.Duration
	Cached      bool
	// Err is why the stage failed, if it did.
	Err error
	// Critical says that the stage is on the critical path.
	Critical bool
}

// Add takes an event. A stage that ends without having begun took no time.
func (t *Timeline) Add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.At.After(t.latest) {
		t.latest = e.At
	}
	i := slices.IndexFunc(t.stages, func(s *span) bool { return s.name == e.Stage })
	if i < 0 {
		if e.Kind == Line {
			return
		}
		t.stages = append(t.stages, &span{name: e.Stage, began: e.At, state: running})
		i = len(t.stages) - 1
	}
	switch s := t.stages[i]; e.Kind {
	case Began:
		s.needs = slices.Clone(e.Needs)
	case Ended:
		s.ended, s.err, s.state = e.At, e.Err, e.outcome()
	}
}

// spans are the stages by the time that they began. One that still runs ends
// with the last event.
func (t *Timeline) spans() []span {
	t.mu.Lock()
	defer t.mu.Unlock()
	spans := make([]span, len(t.stages))
	for i, s := range t.stages {
		spans[i] = *s
		if s.state == running {
			spans[i].ended = t.latest
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return a.began.Compare(b.began) })
	return spans
}

// CriticalPath returns the stages that the whole waited for, from the first to
// the last: a stage that ends sooner elsewhere makes nothing faster. It goes
// back from the stage that ended last to the one it needed that ended last,
// and so on. A stage that was given up because of another one is no end.
func (t *Timeline) CriticalPath() []string {
	var names []string
	for _, s := range criticalPath(t.spans()) {
		names = append(names, s.name)
	}
	return names
}

func criticalPath(spans []span) []span {
	left := map[string]span{}
	for _, s := range spans {
		left[s.name] = s
	}
	var path []span
	for ends := spans; len(ends) > 0; {
		last := slices.MaxFunc(ends, byEnd)
		path = append(path, last)
		// No stage comes twice: a circle of needs must end.
		delete(left, last.name)
		ends = nil
		for _, name := range last.needs {
			if s, known := left[name]; known {
				ends = append(ends, s)
			}
		}
	}
	slices.Reverse(path)
	return path
}

// byEnd compares stages by their end; those that were stopped come first.
func byEnd(a, b span) int {
	switch {
	case a.state == stopped && b.state != stopped:
		return -1
	case a.state != stopped && b.state == stopped:
		return 1
	}
	return a.ended.Compare(b.ended)
}

// period is from when the first stage began until the last one ended.
func period(spans []span) (began time.Time, total time.Duration) {
	if len(spans) == 0 {
		return time.Time{}, 0
	}
	began = spans[0].began
	ended := began
	for _, s := range spans {
		if s.ended.After(ended) {
			ended = s.ended
		}
	}
	return began, ended.Sub(began)
}

// Rows returns the stages by the time that they began.
func (t *Timeline) Rows() []Row {
	spans := t.spans()
	began, _ := period(spans)
	critical := criticalPath(spans)
	rows := make([]Row, len(spans))
	for i, s := range spans {
		rows[i] = Row{
			Stage: s.name, Start: s.began.Sub(began), Took: s.took(), Cached: s.state == cached, Err: s.err,
			Critical: slices.ContainsFunc(critical, func(c span) bool { return c.name == s.name }),
		}
	}
	return rows
}

// Table writes the stages as a Markdown table, the critical path in bold.
// It is empty where there are none.
func (t *Timeline) Table() string {
	spans := t.spans()
	if len(spans) == 0 {
		return ""
	}
	critical := criticalPath(spans)
	var b strings.Builder
	b.WriteString("| stage | took | |\n|---|--:|---|\n")
	for _, s := range spans {
		name, note := markdown(t.hide(clean(s.name))), string(s.state)
		if slices.ContainsFunc(critical, func(c span) bool { return c.name == s.name }) {
			name = "**" + name + "**"
		}
		if s.state == made {
			note = ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, took(s.took()), note)
	}
	_, total := period(spans)
	fmt.Fprintf(&b, "| in all | %s | |\n", took(total))
	return b.String()
}

// markdown escapes a text for the cell of a table.
func markdown(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "&", "&amp;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, `\`, `\\`).Replace(text)
}

func (t *Timeline) hide(text string) string {
	if t.Hide == nil {
		return text
	}
	return t.Hide(text)
}
