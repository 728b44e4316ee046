package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// setLog makes the logger: readable lines on a terminal and in the log of a
// workflow, JSON otherwise.
func (c *cli) setLog(format string, verbose bool) {
	c.format, c.verbose = format, verbose
	level := zerolog.InfoLevel
	if verbose {
		level = zerolog.DebugLevel
	}
	var sink io.Writer = c.err
	if format == "console" || format == "auto" && (c.terminal || c.actions) {
		sink = zerolog.ConsoleWriter{Out: c.err, NoColor: !c.terminal, TimeFormat: time.TimeOnly}
	}
	c.log = zerolog.New(sink).Level(level).With().Timestamp().Logger()
}

// redirect has errors and the log go elsewhere, and returns what undoes that.
func (c *cli) redirect(to io.Writer) (undo func()) {
	before := c.err
	c.err = to
	c.setLog(c.format, c.verbose)
	return func() {
		c.err = before
		c.setLog(c.format, c.verbose)
	}
}

// warn logs what is wrong without being a failure, with its remedy.
func warn(log zerolog.Logger, err error) { warning(log, err).Msg(err.Error()) }

// warning begins such a line.
func warning(log zerolog.Logger, err error) *zerolog.Event {
	line := log.Warn()
	var p problem.Problem
	if errors.As(err, &p) && p.Remedy != "" {
		line = line.Str("fix", p.Remedy)
	}
	return line
}

// annotate shows an error at the top of a workflow's run.
func (c *cli) annotate(message string) {
	if c.actions {
		escaped := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(message)
		fmt.Fprintf(c.err, "::error::%s\n", escaped)
	}
}

// group folds what f prints in the log of a workflow.
func (c *cli) group(title string, f func() error) error {
	if c.actions {
		fmt.Fprintf(c.err, "::group::%s\n", title)
		defer fmt.Fprintln(c.err, "::endgroup::")
	}
	return f()
}
