package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// piped runs the program with an input.
func (u *user) piped(input string, args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(u.t.Context(), append(args, "--env-file", ""), u.environ, strings.NewReader(input), &out, &errs)
	return code, out.String(), errs.String()
}

// everyday works with the release that is live, as somebody on call does.
func (u *user) everyday() {
	t := u.t
	t.Run("bench", func(t *testing.T) {
		u.t = t
		if code, out, errs := u.bench("", "version"); code != 0 || !strings.Contains(out, "erpnext 15.1.0\n") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
		code, out, errs := u.bench("", "--site", sandbox.Site, "execute", "sys.exit", "--args", "(7,)")
		if code != 7 || out != "" || strings.Contains(errs, "✗") {
			t.Errorf("exit %d, want the command's 7; printed %q\n%s", code, out, errs)
		}
		if code, out, errs := u.bench("it's piped\n", "--site", sandbox.Site, "execute", "builtins.input"); code != 0 || !strings.Contains(out, `"it's piped"`) {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
		if code, _, errs := u.bench("", "no-such-verb"); code == 0 || !strings.Contains(errs, "no-such-verb") {
			t.Errorf("exit %d\n%s", code, errs)
		}
	})
	t.Run("logs", func(t *testing.T) {
		u.t = t
		code, out, errs := u.piped("", "logs", "frontend", "backend", "--tail", "1")
		if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "frontend-1") || !strings.Contains(out, "backend-1") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
		if code, out, _ := u.piped("", "logs", "backend", "--since", "2999-01-01T00:00:00Z"); code != 0 || out != "" {
			t.Errorf("from the future: exit %d, printed %q", code, out)
		}
		code, out, errs = u.piped("", "logs", "bakcend")
		if code != cli.ExitUsage || out != "" || !strings.Contains(errs, "write backend; there are backend, configurator") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
	})
	t.Run("logs --follow", func(t *testing.T) {
		u.t = t
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		out := &until{text: "/login?seen-in-the-log", do: stop}
		var errs bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			ended <- cli.Run(ctx, []string{"logs", "frontend", "--follow", "--tail", "0", "--env-file", ""}, u.environ, strings.NewReader(""), out, &errs)
		}()
		for waiting := true; waiting; {
			select {
			case code := <-ended:
				waiting = false
				if code != cli.ExitInterrupted || strings.Contains(errs.String(), "✗") {
					t.Errorf("exit %d\n%s", code, errs.String())
				}
			case <-time.After(200 * time.Millisecond):
				u.get(out.text)
			}
		}
		if !out.found {
			t.Errorf("the request is not in the log:\n%s", out.Buffer.String())
		}
	})
	t.Run("shell reads what is piped into it", func(t *testing.T) {
		u.t = t
		code, out, errs := u.piped("cd sites && cat apps.txt\ntest -t 0 || echo no terminal\nexit 5\n", "shell")
		if code != 5 || !strings.Contains(out, "erpnext\n") || !strings.HasSuffix(out, "no terminal\n") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
	})
	t.Run("shell on a terminal", func(t *testing.T) {
		u.t = t
		u.shellOnTerminal()
	})
	t.Run("only the second container runs", func(t *testing.T) {
		u.t = t
		set := `cd "$HOME/demo/current" && set -- && while read -r f; do set -- "$@" -f "$f"; done <compose-files &&
			docker compose -p demo "$@" up --detach --no-deps --no-recreate --pull never --scale backend=2 backend 2>&1 && docker pause demo-backend-1`
		u.onHost("sh", "-c", set)
		defer u.onHost("sh", "-c", "docker unpause demo-backend-1 && docker rm --force demo-backend-2")
		if code, out, errs := u.bench("", "version"); code != 0 || !strings.Contains(out, "erpnext 15.1.0\n") {
			t.Errorf("exit %d, printed %q\n%s", code, out, errs)
		}
	})
}

// bench runs a bench command with an input.
func (u *user) bench(input string, args ...string) (code int, stdout, stderr string) {
	u.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(u.t.Context(), append([]string{"bench", "--env-file", "", "--"}, args...), u.environ, strings.NewReader(input), &out, &errs)
	return code, out.String(), errs.String()
}

// shellOnTerminal works in the shell through a terminal of its own.
func (u *user) shellOnTerminal() {
	t := u.t
	near, far := newTerminal(t)
	size := func(columns, rows uint16) {
		if err := unix.IoctlSetWinsize(int(near.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
			t.Fatal(err)
		}
	}
	size(101, 27)
	before, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	var shown synced
	go func() { _, _ = io.Copy(&shown, near) }()
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(t.Context(), []string{"shell", "--env-file", ""}, append(u.environ, "TERM=vt220"), far, far, far)
	}()
	expect := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(shown.String(), want); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q is not shown in\n%s", want, shown.String())
			}
		}
	}
	typed := func(text string) {
		if _, err := fmt.Fprint(near, text); err != nil {
			t.Fatal(err)
		}
	}
	expect("frappe-bench$ ")
	// What is typed is echoed as well: so the answers differ from it.
	typed("test -t 0 && test -t 1 && echo \"is $TERM $(stty size)\"\r")
	expect("is vt220 27 101\r\n")
	size(90, 30)
	// The kernel would tell the program if this were its own terminal.
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	typed("until [ \"$(stty size)\" = '30 90' ]; do sleep 0.1; done; echo \"is $(stty size)\"\r")
	expect("is 30 90\r\n")
	typed("echo \"is $((20 + 3))\"; sleep 60\r")
	expect("is 23\r\n")
	typed("\x03")
	typed("echo \"after $?\"\r")
	expect("after 130\r\n")
	typed("exit 7\r")
	if code := <-ended; code != 7 {
		t.Errorf("exit %d, want the shell's 7", code)
	}
	after, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the terminal was left as %+v, it was %+v", after, before)
	}
}

// newTerminal makes a terminal: near is a person's side, far the program's.
func newTerminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// until is a writer that does something once a text came by.
type until struct {
	bytes.Buffer
	text  string
	do    func()
	found bool
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if !u.found && strings.Contains(u.Buffer.String(), u.text) {
		u.found = true
		u.do()
	}
	return n, err
}

// synced is a buffer that is read while it is written.
type synced struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
