package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

type deployOptions struct {
	*globalFlags
	yesFlag
}

// newDeploy returns the command that puts a version live that was pushed before.
func newDeploy(c *cli, global *globalFlags) *cobra.Command {
	o := deployOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "deploy VERSION", Short: "put a pushed version live", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.deploy(cmd.Context(), o, args[0]) },
	}
	o.yesFlag.register(cmd)
	global.registerMigrate(cmd)
	return cmd
}

func (c *cli) deploy(ctx context.Context, o deployOptions, version string) error {
	in, report := c.readInputs(ctx, o.withVersion(version), config.Deploy)
	if err := report.Err(); err != nil {
		return err
	}
	r, err := openRegistries(ctx, in, config.Deploy)
	if err != nil {
		return err
	}
	defer r.close()
	image, _, err := registry.Find(ctx, r.target, version)
	if err != nil {
		return err
	}
	lock, err := registry.LockOf(ctx, r.target, version)
	if err != nil {
		return err
	}
	state, report := c.inspect(ctx, in)
	if err := report.Err(); err != nil {
		return err
	}
	plan, report := deploy.MakePlan(ctx, *state, in.target, lock)
	if err := report.Err(); err != nil {
		return err
	}
	packages := ""
	if state.Current != nil {
		packages = state.Current.Lock.Requirements
	}
	fmt.Fprint(c.err, renderPlan(lock, packages, in.config.Host.Address, &plan))
	if err := c.approve(ctx, o.yesFlag, "Deploy "+version+"?"); err != nil {
		return err
	}
	w := c.watch("Deploy of " + version)
	record, err := c.deployer(ctx, in.config, r.embedded, w.observeDeploy).Run(ctx, plan, image)
	w.hide()
	if err != nil {
		return err
	}
	c.summarize(releaseSummary(plan.Apps, record))
	fmt.Fprintln(c.out, record.Image)
	return nil
}
