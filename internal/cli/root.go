package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// newRoot returns the command tree. Without a command the program releases.
func newRoot(c *cli) *cobra.Command {
	global := &globalFlags{}
	root := newRelease(c, global)
	root.Use = "pipeline"
	root.Short = "From a release tag to a live, migrated ERPNext site, or exactly where you were before"
	// Errors are rendered in one place, by report.
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if err := global.validate(); err != nil {
			return err
		}
		c.setLog(global.logFormat, global.verbose)
		return nil
	}
	root.SetFlagErrorFunc(usageError)
	global.register(root.PersistentFlags())
	root.AddCommand(
		newSetup(c, global),
		newCheck(c, global),
		newPlan(c, global),
		newBuild(c, global),
		newPush(c, global),
		newRebuild(c, global),
		newDeploy(c, global),
		newRelease(c, global),
		newRollback(c, global),
		newUnlock(c, global),
		newCertificate(c, global),
		newPrune(c, global),
		newStatus(c, global),
		newHistory(c, global),
		newShow(c, global),
		newBench(c, global),
		newLogs(c, global),
		newShell(c, global),
		newInit(c, global),
		newDemo(c, global),
		newSandbox(c, global),
		newVersion(c),
	)
	for _, cmd := range append(root.Commands(), root) {
		validate := cmd.Args
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := validate(cmd, args); err != nil {
				return usageError(cmd, err)
			}
			return nil
		}
	}
	return root
}

// usageError returns an error of the command line with where to read on.
func usageError(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: %w (see %s --help)", errUsage, err, cmd.CommandPath())
}
