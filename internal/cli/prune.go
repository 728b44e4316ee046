package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type pruneOptions struct {
	*globalFlags
	yesFlag
	// onlyCopies has backups go that hold what is nowhere else.
	onlyCopies bool
}

// newPrune returns the command that removes what no rollback needs. What goes is
// its result.
func newPrune(c *cli, global *globalFlags) *cobra.Command {
	o := pruneOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "prune", Short: "remove images and backups from the host that no rollback needs any more", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.prune(cmd.Context(), o) },
	}
	o.yesFlag.register(cmd)
	cmd.Flags().BoolVar(&o.onlyCopies, "only-copies", false, "remove backups too that hold the only copy of what was written before a release was put back or data were restored")
	return cmd
}

func (c *cli) prune(ctx context.Context, o pruneOptions) error {
	in, state, err := c.hostState(ctx, o.globalFlags)
	if err != nil {
		return err
	}
	plan, report := deploy.PlanPrune(state, in.target, o.onlyCopies)
	if err := report.Err(); err != nil {
		return err
	}
	for _, run := range plan.Unneeded.OnlyCopies {
		c.log.Info().Str("run", run).Msg("its backup stays: it holds the only copy of what was written before other data took its place (--only-copies removes it)")
	}
	if plan.Unneeded.Empty() {
		c.log.Info().Msg("nothing to remove")
		return nil
	}
	for _, version := range plan.Unneeded.Versions {
		fmt.Fprintln(c.out, "image of "+version)
	}
	for _, run := range plan.Unneeded.Backups {
		fmt.Fprintln(c.out, "backup of run "+run)
	}
	if err := c.approve(o.yesFlag, "Remove these?"); err != nil {
		return err
	}
	w := c.watch("Prune")
	_, err = c.deployer(ctx, in.config, nil, w.observeDeploy).Run(ctx, plan, release.Image{})
	w.hide()
	return err
}
