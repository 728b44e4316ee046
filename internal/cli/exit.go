package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/setup"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Exit codes. Workflows and scripts may rely on them. The commands bench and
// shell end with the exit code of what they ran.
const (
	ExitDone        = 0
	ExitFailed      = 1   // failed, nothing changed on the host
	ExitUsage       = 2   // wrong usage, or a check found problems
	ExitRolledBack  = 3   // the deploy failed and was rolled back
	ExitNeedsPerson = 4   // the host needs a person
	ExitInterrupted = 130 // interrupted; of a release, before anything changed
)

// errUsage marks an error of the command line itself.
var errUsage = errors.New("usage")

// exitError is the exit code of a command that was run for its own sake: it is
// the program's own, and the command has said itself what there is to say.
type exitError int

func (e exitError) Error() string { return "exit code " + strconv.Itoa(int(e)) }

// report renders an error in the one place where errors are rendered, and
// returns the exit code that goes with it.
func (c *cli) report(ctx context.Context, err error) int {
	if err == nil {
		return ExitDone
	}
	var (
		problems *problem.Error
		failed   *deploy.FailedError
		command  exitError
		halfway  *setup.FailedError
	)
	switch {
	case errors.As(err, &command):
		return int(command)
	case errors.As(err, &failed):
		fmt.Fprintf(c.err, "✗ %s\n", failed.Error())
		c.annotate(failed.Error())
		switch failed.State {
		case deploy.RolledBack:
			return ExitRolledBack
		case deploy.NeedsPerson:
			return ExitNeedsPerson
		default:
			return ExitFailed
		}
	case errors.As(err, &halfway) && ctx.Err() == nil:
		fmt.Fprintf(c.err, "✗ %v\n", err)
		c.annotate(err.Error())
		if errors.As(err, &problems) {
			_ = problems.Report.Render(c.err)
		}
		return ExitNeedsPerson
	case errors.As(err, &problems):
		_ = problems.Report.Render(c.err)
		for _, p := range problems.Report {
			c.annotate(p.Error() + ". Fix: " + p.Remedy)
			if p.Code == smoketest.CodeFailed {
				return ExitFailed // the command and the configuration were right
			}
		}
		return ExitUsage
	case errors.Is(err, deploy.ErrInterrupted):
		fmt.Fprintf(c.err, "✗ %v\n", deploy.ErrInterrupted)
		return ExitInterrupted
	case ctx.Err() != nil:
		// A command of another kind may have done something by then, and say what.
		said := ""
		if !errors.Is(err, context.Canceled) {
			said = ": " + err.Error()
		}
		fmt.Fprintf(c.err, "✗ interrupted%s\n", said)
		return ExitInterrupted
	case errors.Is(err, errUsage), errors.Is(err, errDeclined):
		fmt.Fprintf(c.err, "✗ %v\n", err)
		return ExitUsage
	default:
		fmt.Fprintf(c.err, "✗ %v\n", err)
		c.annotate(err.Error())
		return ExitFailed
	}
}
