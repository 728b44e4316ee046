package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type planOptions struct {
	*globalFlags
	buildFlags
}

// newPlan returns the command that shows what a release would change. The plan
// is its result.
func newPlan(c *cli, global *globalFlags) *cobra.Command {
	o := planOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "plan", Short: "show what a release would change", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.plan(cmd.Context(), o) },
	}
	o.buildFlags.register(cmd)
	global.registerMigrate(cmd)
	return cmd
}

func (c *cli) plan(ctx context.Context, o planOptions) error {
	return c.withCandidate(ctx, o.globalFlags, o.buildFlags, c.needs(o.globalFlags), func(next candidate, _ registries, _ *session) error {
		fmt.Fprint(c.out, next.render())
		return nil
	})
}
