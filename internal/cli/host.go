package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// dial connects to the host.
func (c *cli) dial(ctx context.Context, cfg config.Config) (*host.Host, error) {
	return host.Dial(ctx, sshConfig(cfg, c.log))
}

// onHost connects to the host for the commands that only show what is there, or
// run something in it. It asks for no more than that takes.
func (c *cli) onHost(ctx context.Context, global *globalFlags, use func(*host.Host, deploy.Target) error) error {
	in, report := c.readInputs(ctx, global, config.HostAccess)
	if err := report.Err(); err != nil {
		return err
	}
	h, err := c.dial(ctx, in.config)
	if err != nil {
		return host.Problems(err).Err()
	}
	defer h.Close()
	return use(h, in.target)
}

// hostState returns what the commands need that go on with what the host has
// already: the way there and its state.
func (c *cli) hostState(ctx context.Context, global *globalFlags) (inputs, deploy.State, error) {
	in, report := c.readInputs(ctx, global, config.HostAccess)
	report.Add(in.readHooks()...)
	if err := report.Err(); err != nil {
		return in, deploy.State{}, err
	}
	state, report := c.inspect(ctx, in)
	if err := report.Err(); err != nil {
		return in, deploy.State{}, err
	}
	return in, *state, nil
}
