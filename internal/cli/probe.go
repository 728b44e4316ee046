package cli

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// findings are what the probes found out.
type findings struct {
	// apps have a commit in place of every ref.
	apps []release.App
	// state is the host's; nil without one.
	state *deploy.State
	// pushed is the image of the version, and lock its lock, where it was pushed
	// before from the same commits: the deploy is what is left.
	pushed *release.Image
	lock   release.Lock
}

// probe runs every check that asks GitHub, the registry or the host, side by
// side. report has the problems of the static checks; the error has those of
// all.
func (c *cli) probe(ctx context.Context, in inputs, target registry.Target, need config.Need, report problem.Report) (findings, error) {
	var (
		found                           findings
		side                            sync.WaitGroup
		refs, pushing, reaching, onHost problem.Report
	)
	if need&config.Build != 0 && len(in.sources) > 0 {
		side.Go(func() { found.apps, refs = c.resolveRefs(ctx, in) })
	}
	if need&config.Push != 0 && in.config.Registry.Name != "" && in.config.Lock.SiteVersion != "" {
		side.Go(func() { pushing = registry.Check(ctx, target, in.config.Lock.SiteVersion) })
	}
	if need&config.Deploy != 0 && len(report) == 0 {
		side.Go(func() { found.state, reaching = c.inspect(ctx, in) })
	}
	side.Wait()
	if ctx.Err() != nil {
		return found, ctx.Err()
	}
	if need&config.Deploy != 0 && len(report) > 0 {
		c.log.Info().Msg("the host was not looked at: it waits for a configuration without problems")
	}
	if need&config.Deploy == 0 {
		// The same image may be pushed again: only the build can tell, and the
		// push refuses another one under the same version.
		pushing = slices.DeleteFunc(pushing, isTaken)
	} else if slices.ContainsFunc(pushing, isTaken) && len(refs) == 0 {
		if found.pushed, found.lock = pushedBefore(ctx, target, newLock(in.config, found.apps), in.config.Image); found.pushed != nil {
			pushing = slices.DeleteFunc(pushing, isTaken)
		}
	}
	report.Add(refs...)
	report.Add(pushing...)
	report.Add(reaching...)
	if found.state != nil && need&config.Build != 0 {
		_, onHost = deploy.MakePlan(ctx, *found.state, in.target, newLock(in.config, found.apps))
		report.Add(onHost...)
	}
	return found, report.Err()
}

func isTaken(p problem.Problem) bool { return p.Code == registry.CodeTaken }

// resolveRefs turns every ref into a commit, and looks whether the apps fit
// together. Warnings are logged.
func (c *cli) resolveRefs(ctx context.Context, in inputs) ([]release.App, problem.Report) {
	start := time.Now()
	servers, err := c.newServers(in)
	if err != nil {
		return nil, problem.Report{problemOf(err)}
	}
	resolved, warnings, report := apps.Resolve(ctx, servers, in.sources, start)
	for _, w := range warnings {
		warn(c.log, w)
	}
	if len(report) > 0 {
		return resolved, report
	}
	c.log.Info().Int("apps", len(resolved)).Str("took", seconds(time.Since(start))).Msg("resolved every ref to a commit")
	return image.Check(ctx, commits{servers, in.sources}, newLock(in.config, resolved), in.config.Image.Mirrors)
}

// pushedBefore returns the image of a lock's version, and its lock, if it was pushed
// before from the same source, and smoke-tested. Where another date or several
// platforms are asked for, only a build can tell whether it is the same.
func pushedBefore(ctx context.Context, target registry.Target, lock release.Lock, options image.Options) (*release.Image, release.Lock) {
	if len(options.Platforms) > 1 || !options.PackagesAsOf.IsZero() {
		return nil, lock
	}
	found, _, err := registry.Find(ctx, target, lock.SiteVersion)
	if err != nil {
		return nil, lock
	}
	pushed, err := registry.LockOf(ctx, target, lock.SiteVersion)
	if err != nil || !pushed.SameSource(lock) {
		return nil, lock
	}
	reference, err := name.NewDigest(target.Repository() + "@" + found.Digest)
	if err != nil {
		return nil, lock
	}
	report, err := smokeTestOf(ctx, target, reference)
	if err != nil || report == nil || report.Skipped {
		return nil, lock
	}
	found.SmokeTest = report.Word()
	return &found, pushed
}

// inspect looks at the host.
func (c *cli) inspect(ctx context.Context, in inputs) (*deploy.State, problem.Report) {
	h, err := c.dial(ctx, in.config)
	if err != nil {
		return nil, ifRefused(host.Problems(err), "on a new server pipeline setup makes the user with its key")
	}
	defer h.Close()
	state, err := deploy.Inspect(ctx, h, in.target)
	if err != nil {
		return nil, host.Problems(err)
	}
	return &state, nil
}

// problemOf returns the problem that an error is.
func problemOf(err error) problem.Problem {
	var p problem.Problem
	if errors.As(err, &p) {
		return p
	}
	return problem.Problem{Code: "error", Subject: "pipeline", Detail: err.Error(), Err: err}
}
