package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// glass is a terminal: it shows what was written to it.
type glass struct {
	t             *testing.T
	columns, rows int

	mu     sync.Mutex
	lines  [][]rune
	x, y   int
	writes int
}

func (g *glass) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	runes := []rune(string(p))
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '\n':
			g.x, g.y = 0, g.y+1
		case '\r':
			g.x = 0
		case '\x1b':
			sequence := string(runes[i+2 : i+2+strings.IndexAny(string(runes[i+2:]), "AJKm")+1])
			i += 1 + len(sequence)
			g.control(sequence)
		default:
			if g.x == g.columns {
				g.x, g.y = 0, g.y+1
			}
			g.put(r)
		}
	}
	g.grow()
	return len(p), nil
}

func (g *glass) size() (columns, rows int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.columns, g.rows
}

// written is how often something was written.
func (g *glass) written() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes
}

func (g *glass) grow() {
	for len(g.lines) <= g.y {
		g.lines = append(g.lines, nil)
	}
}

func (g *glass) put(r rune) {
	g.grow()
	for len(g.lines[g.y]) <= g.x {
		g.lines[g.y] = append(g.lines[g.y], ' ')
	}
	g.lines[g.y][g.x] = r
	g.x++
}

func (g *glass) control(sequence string) {
	g.grow()
	switch last := sequence[len(sequence)-1]; {
	case last == 'A':
		n, err := strconv.Atoi(sequence[:len(sequence)-1])
		if err != nil {
			g.t.Errorf("moves up by %q", sequence)
		}
		// What has scrolled away is out of reach.
		g.y = max(g.y-n, 0, len(g.lines)-g.rows)
	case sequence == "K" || sequence == "J":
		g.lines[g.y] = g.lines[g.y][:min(g.x, len(g.lines[g.y]))]
		if last == 'J' {
			g.lines = g.lines[:g.y+1]
		}
	case last == 'm':
	default:
		g.t.Errorf("unknown control sequence %q", sequence)
	}
}

// shows returns what is to be seen, as lines.
func (g *glass) shows() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var lines []string
	for _, line := range g.lines {
		lines = append(lines, strings.TrimRight(string(line), " "))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// stand is a screen on a glass, with a clock that stands until it is moved.
type stand struct {
	*Screen
	glass *glass
	clock *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newStand(t *testing.T, columns, rows int) *stand {
	s := &stand{glass: &glass{t: t, columns: columns, rows: rows}, clock: &clock{now: at(0)}}
	s.Screen = NewScreen(Terminal{
		Out: s.glass, Color: true, Now: s.clock.Now, Ticks: make(chan time.Time),
		Size: s.glass.size,
		Hide: func(text string) string { return strings.ReplaceAll(text, "sesame-sesame", "***") },
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// tick moves the clock and lets the screen draw.
func (s *stand) tick(seconds float64) {
	s.clock.mu.Lock()
	s.clock.now = at(seconds)
	s.clock.mu.Unlock()
	s.Screen.tick()
}

func (s *stand) says(text string) {
	_, _ = io.WriteString(s.Writer(), text)
}

func TestScreen(t *testing.T) {
	for name, test := range map[string]struct {
		columns, rows int
		do            func(*stand)
		want          string
	}{
		"nothing yet": {80, 24, func(*stand) {}, ""},
		"runs": {80, 24, func(s *stand) {
			s.Add(began("modules hrms", 0))
			s.Add(began("environment", 1))
			s.Add(line("modules hrms", 2, "[1/4] Resolving packages..."))
			s.Add(line("modules hrms", 3, "[2/4] Fetching packages..."))
			s.tick(12.34)
		}, `
  modules hrms        12.3s  [2/4] Fetching packages...
  environment         11.3s`},
		"ends": {80, 24, func(s *stand) {
			for _, name := range []string{"base", "packages", "assets", "modules", "bench"} {
				s.Add(began(name, 0))
			}
			s.Add(fromCache("base", 0.5))
			s.Add(ended("packages", 6.4))
			s.Add(failing("assets", 125, errors.New("build assets: exit 1\nmore of it")))
			s.Add(failing("modules", 125, fmt.Errorf("build modules: %w", context.Canceled)))
			s.tick(126)
		}, `
✓ base               cached
✓ packages             6.4s
✗ assets              2m05s  build assets: exit 1
- modules             2m05s  stopped
  bench               2m06s`},
		"ends without having begun": {80, 24, func(s *stand) { s.Add(ended("push", 3)) }, `
✓ push                 0.0s`},
		"a line of a stage that does not run": {80, 24, func(s *stand) {
			s.Add(line("ghost", 1, "boo"))
			s.tick(1)
		}, ""},
		"others write above": {80, 24, func(s *stand) {
			s.says("before\n")
			s.Add(began("assets", 0))
			s.says("one\ntwo\nhalf a ")
			s.tick(1)
			s.says("line\n")
			s.tick(2)
			s.says("not ended")
			s.tick(3)
		}, `
before
one
two
half a line
  assets               3.0s`},
		"a text without end waits for the last stage": {80, 24, func(s *stand) {
			s.Add(began("assets", 0))
			s.says("Go on?")
			s.Add(ended("assets", 1))
			s.says(" [y/N]")
		}, `
✓ assets               1.0s
Go on? [y/N]`},
		"a stage begins after a text without end": {80, 24, func(s *stand) {
			s.says("Go on? [y/N] ")
			s.Add(began("assets", 0))
			s.tick(1)
		}, `
Go on? [y/N]
  assets               1.0s`},
		"too long for the terminal": {40, 24, func(s *stand) {
			s.says("a line of the log that is longer than the terminal is wide\n")
			s.Add(began("a stage with quite a long name", 0))
			s.Add(began("assets", 0))
			s.Add(line("assets", 1, "a line of output that is longer than the terminal is wide"))
			s.tick(1)
			s.Add(failing("assets", 2, errors.New("an error that is longer than the terminal is wide")))
			s.tick(2)
		}, `
a line of the log that is longer than th
e terminal is wide
✗ assets               2.0s  an error…
  a stage with quite a long name   2.0s`},
		"wide characters": {40, 24, func(s *stand) {
			s.Add(began("assets", 0))
			s.Add(line("assets", 1, "✨漢字漢字漢字漢字"))
			s.tick(1)
		}, `
  assets               1.0s  ✨漢字漢…`},
		"a narrow terminal": {10, 24, func(s *stand) {
			s.Add(began("assets", 0))
			s.Add(line("assets", 1, "text"))
			s.tick(1)
		}, `
  assets…`},
		"more stages than rows": {80, 6, func(s *stand) {
			for i := range 9 {
				s.Add(began(fmt.Sprint("stage ", i), 0))
			}
			s.tick(1)
			s.says("log\n")
			s.tick(2)
		}, `
log
  stage 0              2.0s
  stage 1              2.0s
  stage 2              2.0s
  and 6 more`},
		"made narrower": {80, 24, func(s *stand) {
			s.says("log\n")
			s.Add(began("assets", 0))
			s.Add(line("assets", 1, "a line of output that is rather long"))
			s.tick(1)
			// The terminal breaks the line that no longer fits.
			g := s.glass
			g.mu.Lock()
			g.columns = 40
			g.lines = [][]rune{g.lines[0], g.lines[1][:40], g.lines[1][40:], nil}
			g.y++
			g.mu.Unlock()
			s.tick(2)
		}, `
log
  assets               2.0s  a line of…`},
		"control characters": {80, 24, func(s *stand) {
			s.Add(began("as\x1b[2Jsets\n", 0))
			s.Add(line("assets", 1, "gone"))
			s.Add(line("as\x1b[2Jsets\n", 1, "10%\r\x1b]0;title\x07\x1b[1;31mred\x1b[0m\x07\x9b\u009b1A\u202e \ttext\r"))
			s.tick(1)
		}, `
  assets               1.0s  red  text`},
		"secrets": {46, 24, func(s *stand) {
			s.Add(began("assets", 0))
			s.Add(began("modules", 0))
			s.Add(line("assets", 1, "get ssh://sesame-sesame@host"))
			s.Add(line("modules", 1, "get \x1b[1msesame-\x1b[0msesame"))
			s.tick(1)
			s.Add(failing("assets", 2, errors.New("sesame-sesame: denied")))
			s.tick(2)
		}, `
✗ assets               2.0s  ***: denied
  modules              2.0s  get ***`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, test.columns, test.rows)
			test.do(s)
			if got, want := s.glass.shows(), strings.TrimPrefix(test.want, "\n"); got != want {
				t.Errorf("terminal shows\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestScreenClose(t *testing.T) {
	s := newStand(t, 80, 24)
	s.says("log\n")
	s.Add(began("base", 0))
	s.Add(ended("base", 1))
	s.Add(began("assets", 0))
	s.says("held")
	for range 2 { // a second time does nothing
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.Add(began("late", 2))
	s.says(" and more\nlast\n")
	want := "log\n✓ base                 1.0s\nheld and more\nlast"
	if got := s.glass.shows(); got != want {
		t.Errorf("terminal shows\n%s\nwant\n%s", got, want)
	}
}

func TestScreenDrawsInOneWrite(t *testing.T) {
	s := newStand(t, 80, 24)
	s.Add(began("assets", 0))
	for i := range 1000 {
		s.Add(line("assets", 1, fmt.Sprint("line ", i)))
	}
	s.says("log\n")
	s.tick(1)
	// One to begin with, the text, and the tick.
	if got := s.glass.written(); got != 3 {
		t.Errorf("there were %d writes, want 3", got)
	}
}

func TestScreenDrawsAtTicks(t *testing.T) {
	ticks := make(chan time.Time)
	out := &glass{t: t, columns: 80, rows: 24}
	s := NewScreen(Terminal{Out: out, Ticks: ticks, Now: func() time.Time { return at(2) }})
	s.Add(began("assets", 0))
	s.Add(line("assets", 1, "text"))
	if got, want := out.shows(), "  assets               2.0s"; got != want {
		t.Errorf("before a tick, terminal shows\n%s\nwant\n%s", got, want)
	}
	ticks <- at(2)
	ticks <- at(2) // is taken when the first one is done
	if got, want := out.shows(), "  assets               2.0s  text"; got != want {
		t.Errorf("after a tick, terminal shows\n%s\nwant\n%s", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestScreenWithoutColor(t *testing.T) {
	var out strings.Builder
	s := NewScreen(Terminal{Out: &out, Ticks: make(chan time.Time)})
	s.Add(ended("assets", 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "✓ assets               0.0s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestScreenTellsOfABrokenTerminal(t *testing.T) {
	s := NewScreen(Terminal{Out: broken{}})
	s.Add(began("assets", 0))
	if _, err := io.WriteString(s.Writer(), "log\n"); err == nil || err.Error() != "disk full" {
		t.Errorf("writing gave %v", err)
	}
	if err := s.Close(); err == nil || err.Error() != "draw progress: disk full" {
		t.Errorf("closing gave %v", err)
	}
}

func TestScreenTakesManyAtOnce(t *testing.T) {
	out := &glass{t: t, columns: 80, rows: 24}
	s := NewScreen(Terminal{Out: out, Ticks: nil})
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name := fmt.Sprint("stage ", i)
			s.Add(began(name, 0))
			for j := range 50 {
				s.Add(line(name, 1, fmt.Sprint("text ", j)))
				fmt.Fprintf(s.Writer(), "log %d of %d\n", j, i)
			}
			s.Add(ended(name, 1))
		})
	}
	group.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.shows(), "\n")
	if len(lines) != 8*51 {
		t.Errorf("terminal shows %d lines, want %d", len(lines), 8*51)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "log ") && !strings.HasPrefix(line, "✓ stage ") {
			t.Errorf("terminal shows %q", line)
		}
	}
}
