package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// deployer returns what deploys, with progress in the log. The host pulls from
// the embedded registry where no other is set; it is nil where nothing is pulled.
// A second Ctrl-C, after the one that ended the context, ends the following.
func (c *cli) deployer(ctx context.Context, cfg config.Config, embedded *registry.Embedded, observe func(deploy.Event)) deploy.Deployer {
	d := deploy.Deployer{
		Dial:    func(ctx context.Context) (deploy.Host, error) { return c.dial(ctx, cfg) },
		Observe: observe,
		Detach:  secondInterrupt(ctx),
	}
	if _, set := registryTarget(cfg); !set && embedded != nil {
		d.Registry = embedded.Dial
	}
	return d
}

// secondInterrupt returns a channel that is closed at the first signal to end
// that comes after the context is done.
func secondInterrupt(ctx context.Context) <-chan struct{} {
	second := make(chan struct{})
	context.AfterFunc(ctx, func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		<-signals
		close(second)
	})
	return second
}

// logDeploy logs what happens during a deploy.
func (c *cli) logDeploy(e deploy.Event) {
	switch e.Kind {
	case deploy.StepBegan:
		c.log.Debug().Msg(e.Step + " began")
	case deploy.Output:
		c.log.Debug().Msg(e.Step + ": " + e.Text)
	case deploy.Noted:
		_, text, _ := strings.Cut(e.Text, ": ")
		c.log.Warn().Str("step", e.Step).Msg(text)
	case deploy.Warned:
		c.log.Warn().Int("exit", e.Exit).Str("fix", e.Text).Msg("the release is live, but step " + e.Step + " failed")
	case deploy.StepEnded:
		event, what := c.log.Info(), e.Step
		if e.Exit != 0 {
			event, what = c.log.Error().Int("exit", e.Exit), e.Step+" failed"
		}
		event.Str("took", fmt.Sprintf("%.1fs", e.Seconds)).Msg(what)
	case deploy.UndoEnded:
		c.log.Warn().Int("exit", e.Exit).Msg(e.Step + " undone")
	case deploy.Disconnected:
		c.log.Warn().Str("reason", e.Text).Msg("lost the connection; the host carries on by itself")
	case deploy.Reconnected:
		c.log.Info().Msg("connected again")
	case deploy.Interrupted:
		c.log.Warn().Msg("the run's process is gone; the host goes on with it by itself within a minute")
	case deploy.Stopping:
		c.log.Warn().Msg("stopping: the host puts everything back")
	case deploy.CarryingOn:
		c.log.Warn().Msg("too late to stop: the host carries on by itself; Ctrl-C once more ends watching it")
	}
}
