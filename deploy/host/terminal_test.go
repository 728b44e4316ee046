//go:build unix

package host

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestTerminalIsAskedFor holds what goes over the wire.
func TestTerminalIsAskedFor(t *testing.T) {
	s := inProcess(t)
	s.terminals = make(chan string)
	h := s.dial(t)
	r, w := io.Pipe()
	resized := make(chan Size)
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), script("read line; exit 3"), Options{
			Stdin: r, Terminal: &Terminal{Type: "xterm", Size: Size{Columns: 101, Rows: 27}, Resized: resized},
		})
		ended <- err
	}()
	next := func(want string) {
		t.Helper()
		select {
		case got := <-s.terminals:
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not in time: %q", want)
		}
	}
	next("xterm 101x27")
	resized <- Size{Columns: 80, Rows: 24}
	next("now 80x24")
	if _, err := io.WriteString(w, "go on\n"); err != nil {
		t.Fatal(err)
	}
	var failed *RunError
	if err := <-ended; !errors.As(err, &failed) || failed.Exit != 3 {
		t.Errorf("got %v, want exit code 3", err)
	}
	// Sizes are no longer taken, and need not be.
	select {
	case resized <- Size{}:
		t.Error("a size was taken after the end")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestHostWithoutTerminals(t *testing.T) {
	for name, s := range map[string]*server{"in process": inProcess(t), "sshd": nil} {
		t.Run(name, func(t *testing.T) {
			if s == nil {
				s = realSSHD(t, "PermitTTY no")
			}
			_, err := s.dial(t).Run(t.Context(), []string{"true"}, Options{Terminal: &Terminal{Type: "xterm"}})
			if err == nil || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "the host gives no terminal") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTerminal works with a shell as a user does: it has a terminal of the
// right kind and size, echoes, and Ctrl-C ends what runs in it.
func TestTerminal(t *testing.T) {
	h := realSSHD(t).dial(t)
	r, w := io.Pipe()
	defer r.Close()
	lines := make(chan string, 100)
	resized := make(chan Size)
	ended := make(chan error, 1)
	go func() {
		_, err := h.Run(t.Context(), []string{"env", "PS1=\nready\n", "sh", "-i"}, Options{
			Stdin: r, Stdout: &lineSplitter{lines: lines}, Terminal: &Terminal{Type: "vt220", Size: Size{Columns: 101, Rows: 27}, Resized: resized},
		})
		ended <- err
	}()
	expect := func(want string) {
		t.Helper()
		var seen []string
		limit := time.After(10 * time.Second)
		for {
			select {
			case line := <-lines:
				if seen = append(seen, line); line == want {
					return
				}
			case <-limit:
				t.Fatalf("no line %q in %q", want, seen)
			}
		}
	}
	typed := func(text string) {
		t.Helper()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	typed("test -t 0 && test -t 1 && echo $TERM $(stty size)\n")
	expect("vt220 27 101")
	resized <- Size{Columns: 90, Rows: 30}
	// The host may still be about to hear of it.
	typed("until [ \"$(stty size)\" = '30 90' ]; do sleep 0.1; done; echo is $(stty size)\n")
	expect("is 30 90")
	// Who says so has the terminal by then.
	typed("sh -c 'echo begun; exec sleep 60'\n")
	expect("begun")
	typed("\x03")
	// What is typed before the shell is back may be dropped with what it read.
	expect("ready")
	typed("echo after $?\n")
	expect("after 130")
	typed("exit 7\n")
	var failed *RunError
	if err := <-ended; !errors.As(err, &failed) || failed.Exit != 7 {
		t.Errorf("got %v, want exit code 7", err)
	}
}

// lineSplitter sends on every line, without its end.
type lineSplitter struct {
	lines chan<- string
	rest  string
}

func (s *lineSplitter) Write(p []byte) (int, error) {
	s.rest += string(p)
	for {
		line, rest, ok := strings.Cut(s.rest, "\n")
		if !ok {
			return len(p), nil
		}
		s.lines <- strings.TrimSuffix(line, "\r")
		s.rest = rest
	}
}
