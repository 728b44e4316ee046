// Package cli is the program's commands: it reads flags, hands plain values from
// one part of the pipeline to the next, and renders what they answer. Nothing
// here knows how an image is built or a site is migrated.
package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Run carries a command line out: the whole program but for the process. It
// returns the exit code.
func Run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := newCLI(environ, stdin, stdout, stderr)
	root := newRoot(c)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := c.report(ctx, err)
	c.flush()
	return code
}

// cli is what the commands run with: the environment, and the streams that they
// read and write. Results go to out and nothing else does; progress, logs and
// problems go to err. No secret passes either: a redactor stands before both.
type cli struct {
	environ []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
	log     zerolog.Logger

	redactOut, redactErr *secret.Redactor
	// screen and console are the terminals that results and logs go to; nil
	// for none.
	screen, console *os.File
	// lines are what the user types: in, of which each answer is a line.
	lines *bufio.Reader
	// terminal reports whether a user reads err and can answer.
	terminal bool
	// actions reports whether this runs in GitHub Actions.
	actions bool
	// summary is the file of the job summary; empty outside Actions.
	summary string
	// format and verbose are how setLog was called last.
	format  string
	verbose bool
}

func newCLI(environ []string, stdin io.Reader, stdout, stderr io.Writer) *cli {
	c := &cli{
		environ: environ, in: stdin, lines: bufio.NewReader(stdin),
		redactOut: secret.NewRedactor(stdout), redactErr: secret.NewRedactor(stderr),
	}
	c.out, c.err = c.redactOut, c.redactErr
	c.screen, c.console = terminalOf(stdout), terminalOf(stderr)
	c.terminal = c.console != nil && terminalOf(stdin) != nil
	c.actions = c.getenv("GITHUB_ACTIONS") == "true"
	c.summary = c.getenv("GITHUB_STEP_SUMMARY")
	c.setLog("auto", false)
	return c
}

// as returns a program with another environment, without a terminal, that writes
// and logs through this one.
func (c *cli) as(environ []string) *cli {
	other := newCLI(environ, strings.NewReader(""), c.out, c.err)
	other.log, other.verbose = c.log, c.verbose
	return other
}

// hidden returns a text without its secrets.
func (c *cli) hidden(text string) string { return c.redactErr.Redact(text) }

// hide adds secrets whose values must pass neither stream.
func (c *cli) hide(secrets ...secret.Secret) {
	c.redactOut.Add(secrets...)
	c.redactErr.Add(secrets...)
}

func (c *cli) flush() {
	_ = c.redactOut.Flush()
	_ = c.redactErr.Flush()
}

func (c *cli) getenv(name string) string {
	for i := len(c.environ) - 1; i >= 0; i-- {
		if value, found := strings.CutPrefix(c.environ[i], name+"="); found {
			return value
		}
	}
	return ""
}
