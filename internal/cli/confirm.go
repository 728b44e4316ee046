package cli

import (
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
func (c *cli) approve(f yesFlag, question string) error {
	switch {
	case f.yes:
		return nil
	case !c.terminal:
		return fmt.Errorf("%w: there is no terminal to ask on: give --yes", errUsage)
	case !c.confirm(question):
		return errDeclined
	}
	return nil
}

// confirm asks a yes-or-no question. Only yes is yes.
func (c *cli) confirm(question string) bool {
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	_ = c.redactErr.Flush()
	line, _ := c.lines.ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}
