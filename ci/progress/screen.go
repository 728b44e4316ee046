package progress

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Terminal is what a [Screen] draws on.
type Terminal struct {
	// Out is the terminal.
	Out io.Writer
	// Size returns its columns and rows, as term.GetSize does. Where it is nil
	// or knows nothing, 80 and 24 are taken.
	Size func() (columns, rows int)
	// Color allows colours.
	Color bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Ticks says when to draw anew; nil is ten times a second.
	Ticks <-chan time.Time
	// Hide takes secrets out of a text. It sees texts before they are
	// shortened: of a secret cut in two, a writer below would see nothing.
	// It may be nil.
	Hide func(string) string
}

// Screen shows the stages that run, each on a line at the bottom of a
// terminal that is drawn again and again:
//
//	✓ base               cached
//	✓ packages             6.4s
//	  modules hrms        12.3s  [3/4] Linking dependencies...
//	  environment          5.9s  Installed 84 packages
//
// Whatever else goes to the terminal meanwhile must take [Screen.Writer].
// A Screen may be used by several goroutines.
type Screen struct {
	terminal Terminal
	done     chan struct{}
	finished sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	err     error
	running []*live
	// drawn are the widths of the lines that stand on the terminal below
	// everything else. The cursor is on the line after them.
	drawn []int
	// held is text of others without a line end yet.
	held []byte
	// open says that the terminal's last line has no end yet.
	open bool
}

// live is a stage that runs.
type live struct {
	name, text string
	began      time.Time
}

// NewScreen returns a screen, which Close ends.
func NewScreen(terminal Terminal) *Screen {
	s := &Screen{terminal: terminal, done: make(chan struct{})}
	if s.terminal.Now == nil {
		s.terminal.Now = time.Now
	}
	stop := func() {}
	if s.terminal.Ticks == nil {
		ticker := time.NewTicker(100 * time.Millisecond)
		s.terminal.Ticks, stop = ticker.C, ticker.Stop
	}
	s.finished.Go(func() {
		defer stop()
		for {
			select {
			case <-s.done:
				return
			case <-s.terminal.Ticks:
				s.tick()
			}
		}
	})
	return s
}

// tick draws the lines as they are by now.
func (s *Screen) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.running) > 0 {
		s.draw(nil)
	}
}

// Add takes an event.
func (s *Screen) Add(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	i := slices.IndexFunc(s.running, func(l *live) bool { return l.name == e.Stage })
	switch {
	case e.Kind == Began && i < 0:
		s.running = append(s.running, &live{name: e.Stage, began: e.At})
		s.draw(nil)
	case e.Kind == Line && i >= 0:
		// Commands print faster than can be read: the next tick draws it.
		s.running[i].text = e.Text
	case e.Kind == Ended:
		began := e.At
		if i >= 0 {
			began = s.running[i].began
			s.running = slices.Delete(s.running, i, i+1)
		}
		s.draw([]byte(s.end(e, e.At.Sub(began))))
	}
}

// end is the line of a stage that has ended.
func (s *Screen) end(e Event, duration time.Duration) string {
	mark, color, note, why := "✓", green, took(duration), ""
	switch e.outcome() {
	case cached:
		note = string(cached)
	case failed:
		mark, color, why = "✗", red, "  "+s.hide(firstLine(e.Err))
	case stopped:
		mark, color, why = "-", faint, "  "+string(stopped)
	}
	columns, _ := s.size()
	name := s.hide(clean(e.Stage))
	text := shorten(fmt.Sprintf("%-*s %6s%s", nameColumns, name, note, why), columns-3)
	return s.paint(color, mark) + " " + text + "\n"
}

// nameColumns is how far the names of stages reach, longer ones excepted.
const nameColumns = 18

// lines are the lines of the stages that run, as many as there is room for.
func (s *Screen) lines() (lines []string, widths []int) {
	columns, rows := s.size()
	room := max(rows-2, 1)
	for i, l := range s.running {
		if i == room-1 && len(s.running) > room {
			more := shorten(fmt.Sprintf("  and %d more", len(s.running)-i), columns-1)
			return append(lines, s.paint(faint, more)), append(widths, width(more))
		}
		name := s.hide(clean(l.name))
		head := shorten(fmt.Sprintf("  %-*s %6s", nameColumns, name, took(s.terminal.Now().Sub(l.began))), columns-1)
		text := shorten(s.hide(clean(l.text)), columns-1-width(head)-2)
		if text != "" {
			text = "  " + text
		}
		lines = append(lines, head+s.paint(faint, text))
		widths = append(widths, width(head+text))
	}
	return lines, widths
}

// draw puts a text, which ends with a line end, above the lines and draws
// these anew: in one write, so that nothing flickers.
func (s *Screen) draw(text []byte) {
	var b bytes.Buffer
	if s.open && (len(text) > 0 || len(s.running) > 0) {
		b.WriteByte('\n')
		s.open = false
	}
	if columns, _ := s.size(); len(s.drawn) > 0 {
		rows := 0
		for _, width := range s.drawn {
			// In a terminal made narrower since, a line takes more rows.
			rows += 1 + max(width-1, 0)/columns
		}
		fmt.Fprintf(&b, "\r\x1b[%dA", rows)
		if len(text) > 0 {
			b.WriteString("\x1b[J")
		}
	}
	b.Write(text)
	lines, widths := s.lines()
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	if len(s.drawn) > 0 {
		b.WriteString("\x1b[J")
	}
	s.drawn = widths
	if len(s.running) == 0 && len(s.held) > 0 {
		b.Write(s.held)
		s.held, s.open = nil, true
	}
	s.write(b.Bytes())
}

// write keeps the first error.
func (s *Screen) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if _, err := s.terminal.Out.Write(p); err != nil && s.err == nil {
		s.err = err
	}
}

// Close takes the lines away and leaves the terminal to others. The writer
// goes on, as if it were the terminal. The error is the first that writing
// to the terminal gave.
func (s *Screen) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		s.running = nil
		s.draw(nil)
	}
	err := s.err
	s.mu.Unlock()
	s.finished.Wait()
	if err != nil {
		return fmt.Errorf("draw progress: %w", err)
	}
	return nil
}

// Writer returns a writer that puts text above the lines of the stages. While
// there are such lines, a text appears when its line ends.
func (s *Screen) Writer() io.Writer { return above{s} }

type above struct{ *Screen }

func (s above) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.running) == 0 {
		s.write(p)
		s.open = len(p) > 0 && p[len(p)-1] != '\n'
	} else {
		s.held = append(s.held, p...)
		if i := bytes.LastIndexByte(s.held, '\n'); i >= 0 {
			s.draw(s.held[:i+1])
			s.held = slices.Delete(s.held, 0, i+1)
		}
	}
	if s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

func (s *Screen) size() (columns, rows int) {
	if s.terminal.Size != nil {
		columns, rows = s.terminal.Size()
	}
	if columns <= 0 {
		columns = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return columns, rows
}

func (s *Screen) hide(text string) string {
	if s.terminal.Hide == nil {
		return text
	}
	return s.terminal.Hide(text)
}

const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	faint = "\x1b[2m"
)

func (s *Screen) paint(color, text string) string {
	if !s.terminal.Color || strings.TrimSpace(text) == "" {
		return text
	}
	return color + text + "\x1b[0m"
}
