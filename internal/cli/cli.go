// Package cli is the program's commands: it reads flags, hands plain values from
// one part of the pipeline to the next, and renders what they answer. Nothing
// here knows how an image is built or a site is migrated.
package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Run carries a command line out: the whole program but for the process. It
// returns the exit code.
func Run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := newStreams(environ, stdin, stdout, stderr)
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := s.report(ctx, err)
	s.flush()
	return code
}

// streams are where the program reads and writes. Results go to out and
// nothing else does; progress, logs and problems go to err. No secret passes
// either: a redactor stands before both.
type streams struct {
	environ []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	log     zerolog.Logger

	redactOut, redactErr *secret.Redactor
	// screen is the terminal that results go to; nil for none.
	screen *os.File
	// terminal says whether a person reads err and can be asked.
	terminal bool
	// actions says whether this runs in GitHub Actions.
	actions bool
	// summary is the file of the job summary; empty outside Actions.
	summary string
	// format and verbose are how setLog was called last.
	format  string
	verbose bool
}

func newStreams(environ []string, stdin io.Reader, stdout, stderr io.Writer) *streams {
	s := &streams{
		environ: environ, in: stdin,
		redactOut: secret.NewRedactor(stdout), redactErr: secret.NewRedactor(stderr),
	}
	s.out, s.err = s.redactOut, s.redactErr
	s.terminal = isTerminal(stderr) && isTerminal(stdin)
	if isTerminal(stdout) {
		s.screen = stdout.(*os.File)
	}
	s.actions = s.getenv("GITHUB_ACTIONS") == "true"
	s.summary = s.getenv("GITHUB_STEP_SUMMARY")
	s.setLog("auto", false)
	return s
}

// setLog makes the logger: readable lines for a person on a terminal and in
// the log of a workflow, JSON otherwise.
func (s *streams) setLog(format string, verbose bool) {
	s.format, s.verbose = format, verbose
	level := zerolog.InfoLevel
	if verbose {
		level = zerolog.DebugLevel
	}
	var sink io.Writer = s.err
	if format == "console" || format == "auto" && (s.terminal || s.actions) {
		sink = zerolog.ConsoleWriter{Out: s.err, NoColor: !s.terminal, TimeFormat: time.TimeOnly}
	}
	s.log = zerolog.New(sink).Level(level).With().Timestamp().Logger()
}

// relog has the logger write to where errors go by now.
func (s *streams) relog() { s.setLog(s.format, s.verbose) }

// hidden takes the secrets out of a text.
func (s *streams) hidden(text string) string { return s.redactErr.Redact(text) }

// hide adds secrets whose values must pass neither stream.
func (s *streams) hide(secrets ...secret.Secret) {
	s.redactOut.Add(secrets...)
	s.redactErr.Add(secrets...)
}

func (s *streams) flush() {
	_ = s.redactOut.Flush()
	_ = s.redactErr.Flush()
}

func (s *streams) getenv(name string) string {
	for i := len(s.environ) - 1; i >= 0; i-- {
		if value, found := strings.CutPrefix(s.environ[i], name+"="); found {
			return value
		}
	}
	return ""
}

// confirm asks a yes-or-no question. Only yes is yes.
func (s *streams) confirm(question string) bool {
	fmt.Fprintf(s.err, "%s [y/N] ", question)
	_ = s.redactErr.Flush()
	line, _ := bufio.NewReader(s.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

// approve gets a person's yes to a plan, unless --yes gave it.
func (s *streams) approve(f *flags, question string) error {
	switch {
	case f.yes:
		return nil
	case !s.terminal:
		return fmt.Errorf("%w: nobody can be asked here; say --yes", errUsage)
	case !s.confirm(question):
		return errDeclined
	}
	return nil
}

// annotate shows an error at the top of a workflow's run.
func (s *streams) annotate(message string) {
	if s.actions {
		escaped := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(message)
		fmt.Fprintf(s.err, "::error::%s\n", escaped)
	}
}

// group folds what f prints in the log of a workflow.
func (s *streams) group(title string, f func() error) error {
	if s.actions {
		fmt.Fprintf(s.err, "::group::%s\n", title)
		defer fmt.Fprintln(s.err, "::endgroup::")
	}
	return f()
}

// summarize adds Markdown to the page of a workflow's run.
func (s *streams) summarize(markdown string) {
	if s.summary == "" {
		return
	}
	file, err := os.OpenFile(s.summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		s.log.Warn().Err(err).Msg("job summary was not written")
		return
	}
	defer file.Close()
	_, _ = io.WriteString(file, markdown+"\n")
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
