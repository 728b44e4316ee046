package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Options are what a command gets besides its arguments. The zero value is
// right for most.
type Options struct {
	// Stdin is the command's standard input; nil means empty. A secret
	// belongs here or in Env, never in an argument, which every user of the
	// host can see.
	Stdin io.Reader
	// Stdout and Stderr get the output as it comes; where one is nil, the
	// output is in the Result. Nothing is written to them after Run has
	// returned. A write error ends the command.
	Stdout, Stderr io.Writer
	// Env are environment variables. They travel over standard input, so
	// they are seen in no argument list; a value can't hold a line break.
	Env map[string]secret.Secret
	// Terminal attaches the command to a terminal; nil for none. There is one
	// stream of output then, Stdout, and no Env: a terminal would echo it.
	Terminal *Terminal
}

// Result is what a command left.
type Result struct {
	// Stdout and Stderr are the output that went to no writer.
	Stdout, Stderr string
	// Exit is the exit code; only 0 comes without an error.
	Exit int
}

const (
	// stderrTailBytes of standard error go into an error.
	stderrTailBytes = 4 << 10
	// maxCommandBytes is Linux's MAX_ARG_STRLEN on 4 KiB pages, less some
	// room: sshd hands the whole command line to the shell as one argument.
	maxCommandBytes = 127 << 10
	// sessionTimeout is how long a refused session is asked for again.
	sessionTimeout = 5 * time.Second
)

// Run runs a command on the host and waits for its end.
//
// An exit code other than 0 is a [*RunError]. Where it is not known how the
// command ended, because the connection broke or the context was done, the
// error is [ErrOutcomeUnknown] and the reason; where it is known that it never
// began, the error is not that. When the context is done, the command and what
// it started get a SIGTERM, as far as the user may send them one, and Run
// returns; on a dead connection that takes it a second.
//
// Reading of Options.Stdin may go on for one more read after Run returned.
func (h *Host) Run(ctx context.Context, argv []string, o Options) (Result, error) {
	command, stdin, err := prepareCommand(argv, o)
	if err != nil {
		return Result{}, err
	}
	fail := func(err error) error { return fmt.Errorf("run on %s: %s: %w", h.address, brief(Quote(argv)), err) }
	select {
	case h.sessions <- struct{}{}:
	case <-ctx.Done():
		return Result{}, fail(context.Cause(ctx))
	case <-h.done:
		return Result{}, fail(h.Err())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var (
		stdoutText, stderrText bytes.Buffer
		tail                   tailWriter
		writing                sync.Mutex // both may be one writer
		begun                  atomic.Bool
	)
	stdout := &sink{mu: &writing, failed: cancel, w: orBuffer(o.Stdout, &stdoutText)}
	stderr := &sink{mu: &writing, failed: cancel, w: io.MultiWriter(&tail, orBuffer(o.Stderr, &stderrText))}
	mark := rand.Text()
	ended := make(chan error, 1)
	started := time.Now()
	go func() {
		defer func() { <-h.sessions }()
		ended <- h.session(ctx, cancel, runMark+"="+mark+" "+command, o.Terminal, stdin, stdout, stderr, &begun)
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
		if begun.Load() {
			h.terminate(mark)
		}
	}
	stdout.close()
	stderr.close()
	result := Result{Stdout: stdoutText.String(), Stderr: stderrText.String(), Exit: -1}
	log := h.log.Debug().Str("host", h.address).Str("command", brief(Quote(argv))).Dur("took", time.Since(started))

	var exit *ssh.ExitError
	switch {
	case err == nil && ctx.Err() == nil:
		result.Exit = 0
		log.Msg("command done")
		return result, nil
	case errors.As(err, &exit):
		result.Exit = exit.ExitStatus()
		err = &RunError{Command: Quote(argv), Exit: result.Exit, Signal: exit.Signal(), Stderr: tail.String()}
		log.Int("exit", result.Exit).Msg("command failed")
		if ctx.Err() == nil {
			return result, err
		}
		return result, fail(fmt.Errorf("%w: %w", context.Cause(ctx), err))
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = h.reason(err)
	}
	if begun.Load() {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return result, fail(err)
}

// session runs one command line. It returns nil or an *ssh.ExitError exactly
// if the host reported how the command ended. Where reading its input fails,
// the context is cancelled: a command that merely saw the end of its input
// would take what it has for the whole.
func (h *Host) session(ctx context.Context, cancel context.CancelCauseFunc, command string, terminal *Terminal, stdin io.Reader, stdout, stderr io.Writer, begun *atomic.Bool) error {
	session, err := h.openSession(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	session.Stdout, session.Stderr = stdout, stderr
	// Not session.Stdin: Wait would mix its errors with the command's end.
	input, err := session.StdinPipe()
	if err != nil {
		return err
	}
	if terminal != nil {
		done := make(chan struct{})
		defer close(done)
		if err := terminal.attach(session, done); err != nil {
			return err
		}
	}
	begun.Store(true)
	if err := session.Start(command); err != nil {
		if strings.HasPrefix(err.Error(), "ssh: command ") {
			// The host answered with a refusal; the library's text repeats
			// the whole command.
			begun.Store(false)
			return errors.New("the host refuses to run commands")
		}
		return err
	}
	if stdin == nil {
		_ = input.Close()
	} else {
		go feed(input, stdin, cancel)
	}
	return session.Wait()
}

// runMark is an environment variable by which a command's processes are found
// again. Closing a session leaves its command running, and sshd passes no
// signals on to the commands of root: "session signalling requires privilege
// separation" (OpenSSH 9.2), which root's sessions go without.
const runMark = "DEPLOY_RUN"

// terminateMarked sends a SIGTERM to the processes with the mark $1.
const terminateMarked = `grep -lsxzF -e "` + runMark + `=$1" /proc/[0-9]*/environ |
while IFS=/ read -r _ _ pid _; do kill -TERM "$pid"; done`

// terminate ends a command that is no longer waited for. It takes no place among
// the sessions. It waits until the host has accepted the order, which is then
// carried out whatever becomes of the connection, but not more than a second.
func (h *Host) terminate(mark string) {
	accepted := make(chan error, 1)
	go func() {
		session, err := h.openSession(context.Background())
		if err != nil {
			accepted <- err
			return
		}
		defer session.Close()
		err = session.Start(Quote(script(terminateMarked, mark)))
		accepted <- err
		if err == nil {
			_ = session.Wait()
		}
	}()
	err := errors.New("no answer")
	select {
	case err = <-accepted:
	case <-time.After(time.Second):
	}
	if err != nil {
		h.log.Debug().Str("host", h.address).Err(err).Msg("a cancelled command may still run")
	}
}

// feed gives a command its input. A command need not read all of it, so that
// writing may fail is of no interest.
func feed(input io.WriteCloser, stdin io.Reader, cancel context.CancelCauseFunc) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buffer)
		if n > 0 {
			if _, err := input.Write(buffer[:n]); err != nil {
				return
			}
		}
		switch {
		case err == io.EOF:
			_ = input.Close()
			return
		case err != nil:
			cancel(fmt.Errorf("read its input: %w", err))
			return
		}
	}
}

// openSession opens a session. sshd counts one for a moment longer than it is
// seen here, and its limit may be lower than usual, so a refusal is not the
// last word while others may end.
func (h *Host) openSession(ctx context.Context) (*ssh.Session, error) {
	deadline := time.Now().Add(sessionTimeout)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		session, err := h.client.NewSession()
		var refused *ssh.OpenChannelError
		if err == nil || !errors.As(err, &refused) {
			return session, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the host refuses another session (MaxSessions in its sshd_config): %w", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// reason returns why the connection ended, if it did, in place of what a
// command saw of it.
func (h *Host) reason(err error) error {
	// The connection's sessions end a moment before itself.
	select {
	case <-h.done:
		return h.Err()
	case <-time.After(100 * time.Millisecond):
		return err
	}
}

// exportStdin makes variables of the lines of standard input up to an empty
// one. The shell reads them byte by byte (POSIX says so for read), and the
// rest is left to the command. Without the empty line nothing runs.
const exportStdin = `while IFS= read -r v; do [ -n "$v" ] || exec "$@"; export "$v"; done; exit 125`

// prepareCommand returns the command line and the standard input.
func prepareCommand(argv []string, o Options) (string, io.Reader, error) {
	if len(argv) == 0 {
		return "", nil, errors.New("run: no command")
	}
	input := o.Stdin
	if o.Terminal != nil && len(o.Env) > 0 {
		return "", nil, fmt.Errorf("run %s: its terminal would show its environment", brief(argv[0]))
	}
	if len(o.Env) > 0 {
		var lines strings.Builder
		for name, value := range o.Env {
			if !isName(name) {
				return "", nil, fmt.Errorf("run %s: %q is no name of an environment variable", brief(argv[0]), name)
			}
			if strings.ContainsAny(value.Reveal(), "\n\x00") {
				return "", nil, fmt.Errorf("run %s: the value of %s has a line break or NUL in it", brief(argv[0]), name)
			}
			fmt.Fprintf(&lines, "%s=%s\n", name, value.Reveal())
		}
		lines.WriteString("\n")
		argv = append([]string{"sh", "-c", exportStdin, "sh"}, argv...)
		input = strings.NewReader(lines.String())
		if o.Stdin != nil {
			input = io.MultiReader(input, o.Stdin)
		}
	}
	if slices.ContainsFunc(argv, func(arg string) bool { return strings.Contains(arg, "\x00") }) {
		return "", nil, fmt.Errorf("run %s: an argument has a NUL in it", brief(Quote(argv[:1])))
	}
	command := Quote(argv)
	if len(command) > maxCommandBytes {
		return "", nil, fmt.Errorf("run %s: the command line is %d bytes long, the host takes %d: give it as input", brief(argv[0]), len(command), maxCommandBytes)
	}
	return command, input, nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func orBuffer(w io.Writer, b *bytes.Buffer) io.Writer {
	if w == nil {
		return b
	}
	return w
}

// sink stands before a caller's writer. It never fails towards the
// connection, which would stop reading and leave the command stuck, and it
// writes nothing once it is closed.
type sink struct {
	failed context.CancelCauseFunc

	mu     *sync.Mutex
	w      io.Writer
	closed bool
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return len(p), nil
	}
	if _, err := s.w.Write(p); err != nil {
		s.closed = true
		s.failed(fmt.Errorf("write its output: %w", err))
	}
	return len(p), nil
}

func (s *sink) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// tailWriter keeps the end of what is written to it.
type tailWriter struct{ tail []byte }

func (t *tailWriter) Write(p []byte) (int, error) {
	t.tail = append(t.tail, p...)
	if extra := len(t.tail) - stderrTailBytes; extra > 0 {
		t.tail = append(t.tail[:0], t.tail[extra:]...)
	}
	return len(p), nil
}

func (t *tailWriter) String() string { return strings.ToValidUTF8(string(t.tail), "�") }
