package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type releaseOptions struct {
	*globalFlags
	pushFlags
	yesFlag
}

// newRelease returns the command that releases, from the checks to a live site.
// The image's name is its result.
func newRelease(c *cli, global *globalFlags) *cobra.Command {
	o := releaseOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "release", Short: "check, build, push, deploy, migrate and verify (the default)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := c.release(cmd.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, done.record.Image)
			return nil
		},
	}
	o.pushFlags.register(cmd)
	o.yesFlag.register(cmd)
	global.registerMigrate(cmd)
	return cmd
}

// released is what a release left behind. Without a host its record has the
// image alone.
type released struct {
	record release.Record
	stages []progress.Row
}

func (c *cli) release(ctx context.Context, o releaseOptions) (done released, err error) {
	err = c.withCandidate(ctx, o.globalFlags, o.buildFlags, c.needs(o.globalFlags), func(next candidate, r registries, s *session) error {
		fmt.Fprint(c.err, next.render())
		if err := c.approve(o.yesFlag, "Release "+next.config.Lock.SiteVersion+"?"); err != nil {
			return err
		}
		var b built
		var image release.Image
		var w *watcher
		if next.pushed != nil {
			// There is no session, because nothing is built.
			image, w = *next.pushed, c.watch("Deploy of "+next.config.Lock.SiteVersion)
			defer w.hide()
		} else {
			w = s.watcher
			pusher := c.newPusher(next.config, r.target, s, o.pushFlags)
			ahead := c.pullAhead(ctx, next, r, &pusher)
			b, image, err = c.buildAndPush(ctx, next.lock, s, pusher)
			ahead.wait(err, c.log)
			defer ahead.end(ctx)
			done.stages = w.timeline.Rows()
			if err != nil {
				return err
			}
		}
		if next.plan == nil {
			w.hide()
			done.record.Image = image
			c.log.Info().Msg("no host is configured: the release ends with the image")
			if err := c.load(ctx, b, next.config.Registry.Name, s.scratch); err != nil {
				c.log.Warn().Err(err).Msg("the image is not in the local Docker")
			}
			c.summarize("Pushed `" + image.String() + "`")
			return nil
		}
		err = c.group("deploy", func() (err error) {
			done.record, err = c.deployer(ctx, next.config, r.embedded, w.observeDeploy).Run(ctx, *next.plan, image)
			return err
		})
		w.hide()
		if err := w.write(o.timeline); err != nil {
			// What became of the release is what counts.
			c.log.Warn().Err(err).Msg("the timeline lacks the steps on the host")
		}
		if err != nil {
			return err
		}
		c.log.Info().Str("version", done.record.Version).Str("downtime", fmt.Sprintf("%.1fs", done.record.Downtime)).Msg("live")
		c.summarize(releaseSummary(next.plan.Apps, done.record))
		return nil
	})
	return done, err
}

// aheadPull is the host's pulling of an image that is still smoke-tested.
type aheadPull struct {
	cancel  context.CancelFunc
	pulling sync.WaitGroup
	// forget takes away what the host has of it; nil where that stays.
	forget func(context.Context)
	// passing says that the image has a name of its own, which nobody asks for again.
	passing bool
}

// pullAhead has the host pull the image as soon as it is pushed.
func (c *cli) pullAhead(ctx context.Context, next candidate, r registries, p *pusher) *aheadPull {
	d := c.deployer(ctx, next.config, r.embedded, func(deploy.Event) {})
	ctx, cancel := context.WithCancel(ctx)
	a := &aheadPull{cancel: cancel, passing: d.Registry != nil}
	if next.plan == nil {
		return a
	}
	p.pushed = func(image release.Image) {
		a.pulling.Go(func() {
			var err error
			if a.forget, err = d.PullAhead(ctx, *next.plan, image); err != nil {
				// The run pulls it, and says so if it can't.
				c.log.Debug().Err(err).Msg("not pulled ahead")
			}
		})
	}
	return a
}

// aheadLimit is how long a release waits for a host that still pulls. The run pulls by
// itself what is missing then, and tries again where that fails.
const aheadLimit = 10 * time.Minute

// wait waits for the host, unless there will be no run: then nothing of the image stays.
func (a *aheadPull) wait(err error, log zerolog.Logger) {
	if err != nil {
		a.cancel()
	}
	defer time.AfterFunc(aheadLimit, a.cancel).Stop()
	defer time.AfterFunc(time.Second, func() { log.Info().Msg("waiting for the host, which still pulls the image") }).Stop()
	a.pulling.Wait()
	if err == nil && !a.passing {
		a.forget = nil
	}
}

// end takes away what has to go, after the run.
func (a *aheadPull) end(ctx context.Context) {
	a.cancel()
	if a.forget != nil {
		a.forget(context.WithoutCancel(ctx))
	}
}
