package e2e

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

func (u *user) shellOnTerminal(t *testing.T) {
	term := newTerminal(t)
	term.resize(101, 27)
	before := term.settings()
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(t.Context(), []string{"shell", "--env-file", ""}, append(u.environ, "TERM=vt220"), term.far, term.far, term.far)
	}()
	term.expect("frappe-bench$ ")
	// What is typed is echoed as well: so the answers differ from it. Before 23.0
	// Docker gives a terminal its size when the command has begun already
	// (initTtySize of its client), and on a busy host the prompt may come first.
	term.types("until [ \"$(stty size)\" != '0 0' ]; do sleep 0.1; done; test -t 0 && test -t 1 && echo \"is $TERM $(stty size)\"\r")
	term.expect("is vt220 27 101\r\n")
	term.resize(90, 30)
	// The kernel would tell the program if this were its own terminal.
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	term.types("until [ \"$(stty size)\" = '30 90' ]; do sleep 0.1; done; echo \"is $(stty size)\"\r")
	term.expect("is 30 90\r\n")
	term.types("echo \"is $((20 + 3))\"; sleep 60\r")
	term.expect("is 23\r\n")
	term.types("\x03")
	term.types("echo \"after $?\"\r")
	term.expect("after 130\r\n")
	term.types("exit 7\r")
	if code := <-ended; code != 7 {
		t.Errorf("exit %d, want the shell's 7", code)
	}
	if after := term.settings(); !reflect.DeepEqual(before, after) {
		t.Errorf("the terminal was left as %+v, it was %+v", after, before)
	}
}

// terminal is a terminal: near is the user's side, far the program's.
type terminal struct {
	t         *testing.T
	near, far *os.File
	// shown is everything that was ever on the screen.
	shown syncedBuffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	term := &terminal{t: t}
	open := func(path string) *os.File {
		file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		return file
	}
	term.near = open("/dev/ptmx")
	if err := unix.IoctlSetPointerInt(int(term.near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(term.near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	term.far = open(fmt.Sprintf("/dev/pts/%d", number))
	go func() { _, _ = io.Copy(&term.shown, term.near) }()
	return term
}

func (term *terminal) resize(columns, rows uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		term.t.Fatal(err)
	}
}

func (term *terminal) settings() *unix.Termios {
	term.t.Helper()
	settings, err := unix.IoctlGetTermios(int(term.far.Fd()), unix.TCGETS)
	if err != nil {
		term.t.Fatal(err)
	}
	return settings
}

func (term *terminal) types(text string) {
	term.t.Helper()
	if _, err := fmt.Fprint(term.near, text); err != nil {
		term.t.Fatal(err)
	}
}

func (term *terminal) expect(want string) {
	term.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(term.shown.String(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			term.t.Fatalf("%q is not shown in\n%s", want, term.shown.String())
		}
	}
}
