package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// candidate is a release that may begin: no check found a problem, and the lock
// is complete.
type candidate struct {
	config config.Config
	lock   release.Lock
	// packages are the Python packages of the release before that the lock
	// started from; empty for none.
	packages string
	// pushed is the image, where there is nothing left to build.
	pushed *release.Image
	// plan is what happens on the host; nil without one.
	plan *deploy.Plan
}

// render returns what the release changes.
func (n candidate) render() string {
	return renderPlan(n.lock, n.packages, n.config.Host.Address, n.plan)
}

// withCandidate checks, opens a build session, completes the lock and plans. What
// is left to do is use's: everything is open until it returns. Where the image was
// pushed before there is no session.
func (c *cli) withCandidate(ctx context.Context, global *globalFlags, flags buildFlags, need config.Need, use func(candidate, registries, *session) error) (err error) {
	in, report := c.readInputs(ctx, global, need)
	r, err := openRegistries(ctx, in, need)
	if err != nil {
		return err
	}
	defer r.close()
	found, err := c.probe(ctx, in, r.target, need, report)
	if err != nil {
		return err
	}
	next := candidate{config: in.config, lock: found.lock, pushed: found.pushed}
	if next.pushed != nil {
		if flags.noCache != "" || len(flags.upgrade) > 0 {
			return problem.Report{registry.Taken(r.target, next.lock.SiteVersion, next.pushed.Digest)}.Err()
		}
		c.log.Info().Stringer("image", *next.pushed).Msg("pushed before, from the same commits: what is left is to put it live")
		if err := next.planFor(ctx, found.state, in.target); err != nil {
			return err
		}
		return use(next, r, nil)
	}
	s, err := c.openSession(ctx, in, r.stagesBeside(found.state), flags)
	if err != nil {
		return err
	}
	defer func() {
		s.close()
		if err == nil {
			c.tidy(ctx, in, r)
		}
	}()
	before, err := c.lockBefore(ctx, found.state, r.target, in.config.Lock.SiteVersion, need)
	if err != nil {
		return err
	}
	lock := startFrom(newLock(in.config, found.apps), before, in.config.Image.PackagesAsOf.IsZero())
	next.packages = lock.Requirements
	if next.lock, err = s.resolve(ctx, lock); err != nil {
		return err
	}
	if err := next.planFor(ctx, found.state, in.target); err != nil {
		return err
	}
	return use(next, r, s)
}

// planFor plans what happens on the host, if there is one.
func (n *candidate) planFor(ctx context.Context, state *deploy.State, target deploy.Target) error {
	if state == nil {
		return nil
	}
	if n.pushed != nil && state.Current != nil {
		n.packages = state.Current.Lock.Requirements
	}
	plan, report := deploy.MakePlan(ctx, *state, target, n.lock)
	if n.pushed == nil {
		plan = plan.BesideSmokeTest()
	}
	n.plan = &plan
	return report.Err()
}

// lockBefore returns the lock that a release starts from, so that only what has
// to moves: that of what runs on the host, or without a host that of the version
// before in the registry. It is nil for a first release.
func (c *cli) lockBefore(ctx context.Context, state *deploy.State, target registry.Target, version string, need config.Need) (*release.Lock, error) {
	if state != nil {
		if state.Current == nil {
			return nil, nil
		}
		return &state.Current.Lock, nil
	}
	if need&config.Push == 0 {
		return nil, nil
	}
	earlier, err := registry.Before(ctx, target, version)
	if err != nil || earlier == "" {
		return nil, err
	}
	lock, err := registry.LockOf(ctx, target, earlier)
	if err != nil {
		c.log.Warn().Err(err).Str("version", earlier).Msg("the lock of the version before can't be read: Python packages are resolved as for a first release")
		return nil, nil
	}
	return &lock, nil
}

// startFrom returns a lock with the base images and, if they are kept, the
// Python packages of the lock before, wherever the runtimes are the same.
func startFrom(lock release.Lock, before *release.Lock, keepPackages bool) release.Lock {
	if before == nil || before.Python != lock.Python {
		return lock
	}
	if before.Node == lock.Node {
		lock.Bases = before.Bases
	}
	if keepPackages {
		lock.Requirements = before.Requirements
	}
	return lock
}
