package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestExitCodes(t *testing.T) {
	found := func(code string) error {
		return problem.Report{{Code: code, Subject: "subject", Detail: "is wrong", Remedy: "put it right"}}.Err()
	}
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"done":                          {nil, ExitDone},
		"an error":                      {errors.New("failed"), ExitFailed},
		"wrong usage":                   {fmt.Errorf("%w: unknown flag", errUsage), ExitUsage},
		"declined":                      {errDeclined, ExitUsage},
		"problems":                      {found("apps.ref"), ExitUsage},
		"an image that does not work":   {found(smoketest.CodeFailed), ExitFailed},
		"a deploy that changed nothing": {&deploy.FailedError{}, ExitFailed},
		"a deploy that was put back":    {&deploy.FailedError{State: deploy.RolledBack}, ExitRolledBack},
		"a deploy that is held":         {&deploy.FailedError{State: deploy.NeedsPerson}, ExitNeedsPerson},
		"interrupted":                   {fmt.Errorf("deploy: %w", deploy.ErrInterrupted), ExitInterrupted},
		"a command's own":               {exitError(7), 7},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCLI(nil, strings.NewReader(""), io.Discard, io.Discard)
			if got := c.report(t.Context(), test.err); got != test.want {
				t.Errorf("exit %d, want %d", got, test.want)
			}
		})
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for err, want := range map[error]string{
		errors.New("failed"):                                          "✗ interrupted: failed\n",
		fmt.Errorf("build: %w", context.Canceled):                     "✗ interrupted\n",
		fmt.Errorf("%w: %w", deploy.ErrInterrupted, context.Canceled): "✗ interrupted: nothing was changed on the host\n",
	} {
		var said strings.Builder
		if got := newCLI(nil, strings.NewReader(""), io.Discard, &said).report(ended, err); got != ExitInterrupted || said.String() != want {
			t.Errorf("after Ctrl-C: exit %d, %q", got, said.String())
		}
	}
}
