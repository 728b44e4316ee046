package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type rollbackOptions struct {
	*globalFlags
	yesFlag
	restoreData bool
}

// newRollback returns the command that goes back to an earlier release.
func newRollback(c *cli, global *globalFlags) *cobra.Command {
	o := rollbackOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "rollback [VERSION]", Short: "go back to an earlier release; without a version to the one that was replaced last", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			version := ""
			if len(args) > 0 {
				version = args[0]
			}
			return c.rollback(cmd.Context(), o, version)
		},
	}
	o.yesFlag.register(cmd)
	cmd.Flags().BoolVar(&o.restoreData, "restore-data", false, "put the databases back too, as they were when that release was live last")
	return cmd
}

func (c *cli) rollback(ctx context.Context, o rollbackOptions, version string) error {
	in, state, err := c.hostState(ctx, o.globalFlags)
	if err != nil {
		return err
	}
	plan, report := deploy.PlanRollback(state, in.target, version, o.restoreData)
	if err := report.Err(); err != nil {
		return err
	}
	fmt.Fprint(c.err, renderRollback(in.config.Host.Address, plan))
	if err := c.approve(ctx, o.yesFlag, rollbackQuestion(plan)); err != nil {
		return err
	}
	w := c.watch("Rollback to " + plan.Version)
	record, err := c.deployer(ctx, in.config, nil, w.observeDeploy).Run(ctx, plan, release.Image{})
	w.hide()
	if err != nil {
		return err
	}
	c.log.Info().Str("version", record.Version).Str("downtime", fmt.Sprintf("%.1fs", record.Downtime)).Msg("live again")
	c.summarize(fmt.Sprintf("## Back to %s\n\nfrom %s, with a downtime of %.1f s\n", record.Version, record.Previous, record.Downtime))
	fmt.Fprintln(c.out, record.Image)
	return nil
}

// rollbackQuestion returns what is asked before a rollback.
func rollbackQuestion(plan deploy.Plan) string {
	if plan.RestoreFrom == "" {
		return "Go back to " + plan.Version + "?"
	}
	return "Go back to " + plan.Version + ", with the data as they were at " + plan.RestoreClock() + "?"
}

// renderRollback returns what a rollback changes.
func renderRollback(host string, plan deploy.Plan) string {
	return fmt.Sprintf("\nGo back from %s to %s\n\n", plan.Previous, plan.Version) + renderApps(plan.Apps) + "\n" + plan.Data() + "\n" + renderSteps(host, plan)
}
