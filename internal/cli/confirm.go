package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// errDeclined is the answer no to a plan.
var errDeclined = errors.New("declined: nothing was changed")

// yesFlag is the flag of the commands that ask before they change the host.
type yesFlag struct{ yes bool }

func (f *yesFlag) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
}

// approve gets the user's yes to a plan, unless --yes gave it.
func (c *cli) approve(ctx context.Context, f yesFlag, question string) error {
	if f.yes {
		return nil
	}
	if !c.terminal {
		return fmt.Errorf("%w: there is no terminal to ask on: give --yes", errUsage)
	}
	yes, err := c.confirm(ctx, question)
	if err == nil && !yes {
		err = errDeclined
	}
	return err
}

// confirm asks a yes-or-no question. Only yes is yes. The error is [errDeclined], or
// what ended the context.
func (c *cli) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	_ = c.redactErr.Flush()
	line, err := c.readLine(ctx)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
