//go:build unix

package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// onBoth runs a test against the server in this process and against OpenSSH's.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Run("in process", func(t *testing.T) { test(t, inProcess(t)) })
	t.Run("sshd", func(t *testing.T) { test(t, realSSHD(t)) })
}

func TestRun(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		for _, test := range []struct {
			name    string
			argv    []string
			options Options
			stdout  string
			stderr  string
			exit    int
			signal  string
		}{
			{name: "output", argv: []string{"echo", "a  b", "$HOME", "it's"}, stdout: "a  b $HOME it's\n"},
			{name: "both streams", argv: script("echo out; echo err >&2"), stdout: "out\n", stderr: "err\n"},
			{name: "exit code", argv: script("echo why >&2; exit 7"), stderr: "why\n", exit: 7},
			{name: "no such command", argv: []string{"no-such-command"}, exit: 127},
			{name: "signal", argv: append([]string{"exec"}, script("kill -KILL $$")...), exit: 137, signal: "KILL"},
			{name: "input", argv: []string{"cat"}, options: Options{Stdin: strings.NewReader("in\x00put\n")}, stdout: "in\x00put\n"},
			{name: "no input", argv: []string{"cat"}},
			{name: "input that is not read", argv: []string{"true"}, options: Options{Stdin: bytes.NewReader(make([]byte, 8<<20))}},
			{name: "input that never ends", argv: []string{"head", "-c", "3"}, options: Options{Stdin: endless{}}, stdout: "yyy"},
			{name: "environment", argv: script(`printf '%s\n' "$A"; cat`), stdout: "it's \\n =x\nrest",
				options: Options{Env: map[string]secret.Secret{"A": secret.New(`it's \n =x`)}, Stdin: strings.NewReader("rest")}},
			{name: "empty variable", argv: script(`echo "${B-unset}"`), options: Options{Env: map[string]secret.Secret{"B": {}}}, stdout: "\n"},
		} {
			t.Run(test.name, func(t *testing.T) {
				got, err := h.Run(t.Context(), test.argv, test.options)
				if test.exit == 0 && err != nil {
					t.Fatalf("Run: %v", err)
				}
				if got.Stdout != test.stdout || test.stderr != "" && got.Stderr != test.stderr || got.Exit != test.exit {
					t.Errorf("got %q, %q, %d", got.Stdout, got.Stderr, got.Exit)
				}
				if test.exit == 0 {
					return
				}
				var failed *RunError
				if !errors.As(err, &failed) {
					t.Fatalf("%T is no *RunError: %v", err, err)
				}
				if failed.Exit != test.exit || failed.Signal != test.signal || failed.Command != Quote(test.argv) || test.stderr != "" && failed.Stderr != test.stderr {
					t.Errorf("got %+v", failed)
				}
			})
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("y"), len(p))), nil }

func TestRunRefusesWhatNoShellTakes(t *testing.T) {
	h := &Host{}
	for _, test := range []struct {
		name    string
		argv    []string
		options Options
		want    string
	}{
		{"nothing", nil, Options{}, "run: no command"},
		{"NUL", []string{"echo", "a\x00b"}, Options{}, "run echo: an argument has a NUL in it"},
		{"too long", []string{"echo", strings.Repeat("x", 200<<10)}, Options{}, "run echo: the command line is 204805 bytes long, the host takes 130048: give it as input"},
		{"name of a variable", []string{"env"}, Options{Env: map[string]secret.Secret{"A B": {}}}, `run env: "A B" is no name of an environment variable`},
		{"variables and a terminal", []string{"env"}, Options{Env: map[string]secret.Secret{"A": secret.New("s3cret")}, Terminal: &Terminal{}}, "run env: its terminal would show its environment"},
		{"value with a line break", []string{"env"}, Options{Env: map[string]secret.Secret{"A": secret.New("s3cret\n")}}, "run env: the value of A has a line break or NUL in it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := h.Run(t.Context(), test.argv, test.options); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestSecretsInNoArgumentList looks at every process while a command runs.
func TestSecretsInNoArgumentList(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		got, err := h.Run(t.Context(), script(`cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' '; echo; echo "has $TOKEN"`),
			Options{Env: map[string]secret.Secret{"TOKEN": secret.New("hush-" + "hush-4711")}})
		if err != nil {
			t.Fatal(err)
		}
		seen, has, _ := strings.Cut(got.Stdout, "\n")
		if !strings.Contains(has, "has hush-hush-4711") {
			t.Errorf("the command has %q", has)
		}
		if strings.Contains(seen, "hush-hush-4711") {
			t.Error("the secret is in an argument list")
		}
	})
}

func TestRunBigOutput(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		data := make([]byte, 24<<20)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		sum := sha256.New()
		if _, err := h.Run(t.Context(), script("cat"), Options{Stdin: bytes.NewReader(data), Stdout: sum}); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
			t.Error("what came back is not what was sent")
		}
	})
}

// TestRunSideBySide runs more commands at a time than sshd allows sessions.
func TestRunSideBySide(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				got, err := h.Run(t.Context(), script("sleep 0.1; echo $1", fmt.Sprint(i)), Options{})
				if err != nil || got.Stdout != fmt.Sprintf("%d\n", i) {
					t.Errorf("command %d: %q, %v", i, got.Stdout, err)
				}
			})
		}
		all.Wait()
	})
}

// TestSessionsOfAStrictHost: fewer sessions than usual are shared, none is an
// error that says so.
func TestSessionsOfAStrictHost(t *testing.T) {
	t.Run("one at a time", func(t *testing.T) {
		h := realSSHD(t, "MaxSessions 1").dial(t)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := h.Run(t.Context(), []string{"true"}, Options{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
	t.Run("none", func(t *testing.T) {
		h := realSSHD(t, "MaxSessions 0").dial(t)
		_, err := h.Run(t.Context(), []string{"true"}, Options{})
		if err == nil || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "MaxSessions") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRunStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		r, w := io.Pipe()
		defer r.Close()
		ended := make(chan error, 1)
		go func() {
			_, err := h.Run(t.Context(), script("echo first; read line; echo got $line"), Options{Stdin: r, Stdout: lineWriter(func(line string) {
				if line == "first\n" {
					go func() { fmt.Fprintln(w, "answer") }()
				}
			})})
			ended <- err
		}()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("output is held back until the end")
		}
		_ = w.Close()
	})
}

type lineWriter func(string)

func (f lineWriter) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }

// TestRunCancel: Run returns at once, and the command on the host ends too.
func TestRunCancel(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		mark := t.TempDir() + "/mark"
		var err error
		within(t, 5*time.Second, "cancel", func() {
			_, err = h.Run(cancelAfter(t, 2*time.Second), script(`exec 2>/dev/null; trap 'echo ended >"$1"; exit' TERM; while :; do sleep 0.1; done`, mark), Options{})
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("got %v, want the context's error and ErrOutcomeUnknown", err)
		}
		eventually(t, "the command got a SIGTERM", func() bool {
			text, err := os.ReadFile(mark)
			return err == nil && string(text) == "ended\n"
		})
	})
}

func TestRunOnDeadConnection(t *testing.T) {
	s := inProcess(t)
	t.Run("cancel while it does not answer", func(t *testing.T) {
		n := newNetwork(t, s.address)
		h := dial(t, s.through(n))
		n.blackHole()
		var err error
		within(t, 3*time.Second, "cancel", func() {
			_, err = h.Run(cancelAfter(t, 200*time.Millisecond), []string{"true"}, Options{})
		})
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("got %v, want the context's error alone: no session was opened", err)
		}
		within(t, 3*time.Second, "close", func() { _ = h.Close() })
	})
	t.Run("without a cancel", func(t *testing.T) {
		n := newNetwork(t, s.address)
		c := s.through(n)
		c.KeepAlive = 300 * time.Millisecond
		h := dial(t, c)
		time.AfterFunc(500*time.Millisecond, n.blackHole)
		var err error
		within(t, 5*time.Second, "noticing", func() { _, err = h.Run(t.Context(), []string{"sleep", "20"}, Options{}) })
		if !errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "said nothing for 300ms") {
			t.Errorf("got %v, want ErrOutcomeUnknown and why", err)
		}
	})
}

// TestRunInterrupted: the connection breaks under a command.
func TestRunInterrupted(t *testing.T) {
	s := realSSHD(t)
	for _, test := range []struct {
		name string
		cut  func(t *testing.T, n *network)
	}{
		{"reset", func(_ *testing.T, n *network) { n.reset() }},
		{"sshd killed", func(t *testing.T, _ *network) { s.killSessions(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t, s.address)
			h := dial(t, s.through(n))
			began := make(chan struct{})
			var once sync.Once
			ended := make(chan error, 1)
			go func() {
				_, err := h.Run(t.Context(), script("echo begun; sleep 3; echo late"), Options{Stdout: lineWriter(func(string) { once.Do(func() { close(began) }) })})
				ended <- err
			}()
			<-began
			test.cut(t, n)
			select {
			case err := <-ended:
				if !errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "connection to "+n.address+" lost") {
					t.Errorf("got %v, want ErrOutcomeUnknown and why", err)
				}
			case <-time.After(2500 * time.Millisecond):
				t.Error("the end of the connection is not noticed")
			}
		})
	}
}

// TestRunCallersStreamsFail: an error here is not taken for success there.
func TestRunCallersStreamsFail(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		broken := errors.New("disk is full")
		t.Run("output", func(t *testing.T) {
			_, err := h.Run(t.Context(), script("cat /dev/zero"), Options{Stdout: failingWriter{broken}})
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
		})
		t.Run("input", func(t *testing.T) {
			_, err := h.Run(t.Context(), script("cat >/dev/null"), Options{Stdin: io.MultiReader(strings.NewReader("half"), failingReader{broken})})
			if !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
		})
	})
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
