package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
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
	ExitInterrupted = 130 // interrupted before anything changed
)

// errUsage marks an error of the command line itself.
var errUsage = errors.New("usage")

// errDeclined is the answer no to the plan.
var errDeclined = errors.New("declined: nothing was changed")

// report renders an error in the one place where errors are rendered, and
// gives the exit code that goes with it.
func (s *streams) report(ctx context.Context, err error) int {
	if err == nil {
		return ExitDone
	}
	var (
		problems *problem.Error
		failed   *deploy.FailedError
		command  exitError
	)
	switch {
	case errors.As(err, &command):
		return int(command)
	case errors.As(err, &failed):
		fmt.Fprintf(s.err, "✗ %s\n", failed.Error())
		s.annotate(failed.Error())
		switch failed.State {
		case deploy.RolledBack:
			return ExitRolledBack
		case deploy.NeedsPerson:
			return ExitNeedsPerson
		default:
			return ExitFailed
		}
	case errors.As(err, &problems):
		_ = problems.Report.Render(s.err)
		for _, p := range problems.Report {
			s.annotate(p.Error() + ". Fix: " + p.Remedy)
			if p.Code == smoketest.CodeFailed {
				return ExitFailed // nobody asked for anything wrong
			}
		}
		return ExitUsage
	case errors.Is(err, deploy.ErrInterrupted), ctx.Err() != nil:
		fmt.Fprintln(s.err, "✗ interrupted: nothing was changed on the host")
		return ExitInterrupted
	case errors.Is(err, errUsage), errors.Is(err, errDeclined):
		fmt.Fprintf(s.err, "✗ %v\n", err)
		return ExitUsage
	default:
		fmt.Fprintf(s.err, "✗ %v\n", err)
		s.annotate(err.Error())
		return ExitFailed
	}
}
