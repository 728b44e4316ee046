package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type pushOptions struct {
	*globalFlags
	pushFlags
}

// newPush returns the command that builds and pushes. The image's name is its
// result.
func newPush(c *cli, global *globalFlags) *cobra.Command {
	o := pushOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "push", Short: "build and push; print name:version@sha256:… on standard output", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.push(cmd.Context(), o) },
	}
	o.pushFlags.register(cmd)
	return cmd
}

func (c *cli) push(ctx context.Context, o pushOptions) error {
	var pushed release.Image
	err := c.withCandidate(ctx, o.globalFlags, o.buildFlags, config.Build|config.Push, func(next candidate, r registries, s *session) (err error) {
		_, pushed, err = c.buildAndPush(ctx, next.lock, s, c.newPusher(next.config, r.target, s, o.pushFlags))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, pushed)
	return nil
}

func (c *cli) buildAndPush(ctx context.Context, lock release.Lock, s *session, p pusher) (b built, pushed release.Image, err error) {
	err = c.group("build", func() error {
		b, err = s.build(ctx, lock)
		return err
	})
	if err != nil {
		return b, pushed, err
	}
	err = c.group("push", func() error {
		pushed, err = p.push(ctx, b)
		return err
	})
	c.summarize("## Build of " + lock.SiteVersion + "\n\n" + s.watcher.timeline.Table())
	return b, pushed, err
}

// pusher pushes what a session has built, with what is known of it.
type pusher struct {
	config        config.Config
	target        registry.Target
	session       *session
	skipSmokeTest bool
	newSite       bool
	// run is what is known of the build beforehand, for its provenance.
	run attest.Run
	// pushed is told of the image, which has no tag yet; it may be nil.
	pushed func(release.Image)
	log    zerolog.Logger
}

func (c *cli) newPusher(cfg config.Config, target registry.Target, s *session, flags pushFlags) pusher {
	return pusher{config: cfg, target: target, session: s, skipSmokeTest: flags.skipSmokeTest, newSite: flags.newSite || flags.noCache == image.NoCacheAll, run: c.run(), log: c.log}
}

// run returns who builds, for provenance: in GitHub Actions the workflow and its run.
func (c *cli) run() attest.Run {
	v := readVersion()
	run := attest.Run{Version: cmp.Or(v.Version, v.Commit, "(devel)")}
	server, workflow := c.getenv("GITHUB_SERVER_URL"), c.getenv("GITHUB_WORKFLOW_REF")
	if !c.actions || server == "" {
		return run
	}
	if workflow != "" {
		run.Builder = server + "/" + workflow
	}
	if repository, id := c.getenv("GITHUB_REPOSITORY"), c.getenv("GITHUB_RUN_ID"); repository != "" && id != "" {
		run.Invocation = server + "/" + repository + "/actions/runs/" + id + "/attempts/" + cmp.Or(c.getenv("GITHUB_RUN_ATTEMPT"), "1")
	}
	return run
}

// push pushes the image under its digest, smoke-tests it, attaches what is known
// of it and gives it the version's tag.
func (p pusher) push(ctx context.Context, b built) (release.Image, error) {
	s := p.session
	s.watcher.observe(progress.Event{Stage: "push", Kind: progress.Began, At: time.Now(), Needs: s.watcher.timeline.Stages()})
	reference, err := registry.Push(ctx, b.image, p.target)
	s.watcher.observe(progress.Event{Stage: "push", Kind: progress.Ended, At: time.Now(), Err: err})
	if err != nil {
		return release.Image{}, err
	}
	p.log.Info().Stringer("image", reference).Msg("pushed")
	if p.pushed != nil {
		p.pushed(p.target.Image(b.lock.SiteVersion, reference.DigestStr()))
	}
	p.later(ctx, b.image.StoreStages, "some stages are not stored: the next build on an empty engine takes longer")
	smokeTest, err := p.attest(ctx, b, reference)
	if err != nil {
		return release.Image{}, errors.Join(err, s.writeTimeline())
	}
	pushed, err := registry.Tag(ctx, p.target, b.lock.SiteVersion, reference.DigestStr())
	pushed.SmokeTest = smokeTest
	return pushed, errors.Join(err, s.writeTimeline())
}

// later does what only later builds need, beside what is left of this release.
func (p pusher) later(ctx context.Context, work func(context.Context) error, without string) {
	p.session.background.Go(func() {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			warning(p.log, err).Err(err).Msg(without)
		}
	})
}
