package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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
		if err := c.approve(ctx, o.yesFlag, "Release "+next.config.Lock.SiteVersion+"?"); err != nil {
			return err
		}
		var b built
		var image release.Image
		var w *watcher
		var begun *begunDeploy
		if next.pushed != nil {
			// There is no session, because nothing is built.
			image, w = *next.pushed, c.watch("Deploy of "+next.config.Lock.SiteVersion)
			defer w.hide()
		} else {
			w = s.watcher
			pusher := c.newPusher(next.config, r.target, s, o.pushFlags)
			begun = c.beginDeploy(ctx, next, r, w, &pusher)
			b, image, err = c.buildAndPush(ctx, next.lock, s, pusher)
			done.stages = w.timeline.Rows()
			if err != nil {
				return begun.abandon(err)
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
			if begun != nil {
				done.record, err = begun.goOn(image)
				return err
			}
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

// begunDeploy is the run of an image that is still smoke-tested: the host pulls it and
// looks at everything meanwhile, and waits with what changes something.
type begunDeploy struct {
	tested chan release.Image
	passed atomic.Bool
	cancel context.CancelFunc
	run    sync.WaitGroup
	record release.Record
	err    error
	// again plans anew, and begins with an image that has passed.
	again func(release.Image) (release.Record, error)
}

// beginDeploy has the run begin as soon as the image is pushed, if there is a host.
func (c *cli) beginDeploy(ctx context.Context, next candidate, r registries, w *watcher, p *pusher) *begunDeploy {
	b := &begunDeploy{tested: make(chan release.Image, 1)}
	if next.plan == nil {
		return b
	}
	d := c.deployer(ctx, next.config, r.embedded, w.observeDeploy)
	b.again = func(image release.Image) (release.Record, error) {
		plan, err := c.planAgain(ctx, next, image)
		if err != nil {
			return release.Record{}, err
		}
		return d.Run(ctx, plan, image)
	}
	waiting := d
	waiting.Tested = b.tested
	p.pushed = func(image release.Image) {
		ctx, cancel := context.WithCancel(ctx)
		b.cancel = cancel
		b.run.Go(func() {
			if b.record, b.err = waiting.Run(ctx, *next.plan, image); b.err != nil && ctx.Err() == nil && !b.passed.Load() {
				c.log.Error().Err(b.err).Msg("the deploy ended; the image is tested all the same, so that this version can be released again")
			}
		})
	}
	return b
}

// planAgain plans once more what was approved, with an image that has passed: a run that
// has ended since is on record, so that the host would refuse the first plan.
func (c *cli) planAgain(ctx context.Context, next candidate, image release.Image) (deploy.Plan, error) {
	approved := *next.plan
	state, report := c.inspect(ctx, inputs{config: next.config, target: approved.Target})
	if err := report.Err(); err != nil {
		return approved, err
	}
	next.pushed = &image
	err := next.planFor(ctx, state, approved.Target)
	if next.plan.Previous != approved.Previous {
		return approved, fmt.Errorf("%s is live now, and was %s when the release was approved: release again", cmp.Or(next.plan.Previous, "nothing"), cmp.Or(approved.Previous, "nothing"))
	}
	return *next.plan, err
}

// goOn tells the run that the image has passed, and returns how it ended. One that could
// not wait for that, for want of a connection or because another one was under way, is
// begun once more.
func (b *begunDeploy) goOn(image release.Image) (release.Record, error) {
	b.passed.Store(true)
	b.tested <- image
	b.run.Wait()
	b.cancel()
	var failed *deploy.FailedError
	if !errors.As(b.err, &failed) || !failed.BeforeTested() {
		return b.record, b.err
	}
	record, err := b.again(image)
	if err != nil {
		err = fmt.Errorf("%w\nThe run that began while the image was tested had failed too: %w", err, b.err)
	}
	return record, err
}

// abandon has the run put back what it did, as there will be no image, for a reason.
// Where that did not succeed its error says both.
func (b *begunDeploy) abandon(reason error) error {
	if b.cancel == nil {
		return reason
	}
	b.cancel()
	b.run.Wait()
	var failed *deploy.FailedError
	if errors.As(b.err, &failed) && failed.State == deploy.NeedsPerson {
		failed.Notes = append(failed.Notes, "why it was ended: "+reason.Error())
		return failed
	}
	return reason
}
