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
	// stages has stages of builds go in place of what is on the host, and olderThan
	// says how long they have not been used.
	stages    bool
	olderThan string
}

// newPrune returns the command that removes what no rollback needs. What goes is
// its result.
func newPrune(c *cli, global *globalFlags) *cobra.Command {
	o := pruneOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "prune", Short: "remove images and backups from the host that no rollback needs any more, or with --stages what no build uses", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.stages && o.onlyCopies:
				return fmt.Errorf("%w: --only-copies is about the host, and --stages about the registry", errUsage)
			case o.stages:
				return c.pruneStages(cmd.Context(), o)
			case cmd.Flags().Changed("older-than"):
				return fmt.Errorf("%w: --older-than goes with --stages: on the host KEEP_RELEASES says what stays", errUsage)
			}
			return c.prune(cmd.Context(), o)
		},
	}
	o.yesFlag.register(cmd)
	cmd.Flags().BoolVar(&o.onlyCopies, "only-copies", false, "remove backups too that hold the only copy of what was written before a release was put back or data were restored")
	cmd.Flags().BoolVar(&o.stages, "stages", false, "remove stages of builds from the registry instead, those that no build has used for long; needs no host")
	cmd.Flags().StringVar(&o.olderThan, "older-than", "30d", "with --stages: how long they have not been used, in days")
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
	if err := c.approve(ctx, o.yesFlag, "Remove these?"); err != nil {
		return err
	}
	w := c.watch("Prune")
	_, err = c.deployer(ctx, in.config, nil, w.observeDeploy).Run(ctx, plan, release.Image{})
	w.hide()
	return err
}
