package faults_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// strategy is one of the ways in which something goes live.
type strategy struct {
	name string
	// kind is deploy.Cycle or deploy.Swap.
	kind string
	// first is a release onto a host that has none.
	first bool
	// back is a rollback, and restores one that brings the data back too.
	back, restores bool
}

var strategies = []strategy{
	{name: "first", kind: deploy.Cycle, first: true},
	{name: "cycle", kind: deploy.Cycle},
	{name: "swap", kind: deploy.Swap},
	{name: "rollback by cycle", kind: deploy.Cycle, back: true},
	{name: "rollback by swap", kind: deploy.Swap, back: true},
}

// withData is the rollback that brings the data back too: a strategy with one
// step more.
func (s strategy) withData() strategy {
	s.name, s.restores = s.name+" with data", true
	return s
}

// variants are the strategy as it is, and a rollback with data too.
func (s strategy) variants() []strategy {
	if !s.back {
		return []strategy{s}
	}
	return []strategy{s, s.withData()}
}

// undisturbed is how a host gets what a strategy begins with.
var undisturbed = strategy{name: "undisturbed", kind: deploy.Cycle}

// orderFor is the order to have a strategy's next release, or rollback, on the
// host as it is. A release has the version; a rollback that of the release
// that it goes back to.
func (th *testHost) orderFor(ctx context.Context, s strategy, version string) (order, error) {
	next := th.images[0]
	if live := th.state.Current; live != nil && live.Image.Digest == next.image.Digest {
		next = th.images[1]
	}
	o := th.order(th.host, th.host.SSHAddress(), next, version)
	o.Target.Strategy = s.kind
	if !s.back {
		return o, nil
	}
	if th.state.Current == nil {
		return o, errors.New("nothing is live to go back from")
	}
	var history []release.Record
	if err := th.onHost(ctx, func(h *host.Host) (err error) {
		history, _, err = deploy.History(ctx, h, th.target)
		return err
	}); err != nil {
		return o, err
	}
	at := slices.IndexFunc(history, func(r release.Record) bool { return r.Version != th.state.Current.Version })
	if at < 0 {
		return o, errors.New("there is no release to go back to")
	}
	o.BackTo, o.RestoreData = history[at].Version, s.restores
	return o, nil
}

// stepsOf returns the steps of a strategy on the host as it is.
func (th *testHost) stepsOf(ctx context.Context, s strategy) ([]deploy.PlannedStep, error) {
	o, err := th.orderFor(ctx, s, "next")
	if err != nil {
		return nil, err
	}
	state := th.state
	if s.first {
		state = deploy.State{Docker: state.Docker, Compose: state.Compose, Time: state.Time, Free: state.Free, DockerFree: state.DockerFree}
	}
	plan, report := o.plan(ctx, state)
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("plan %s: %w", s.name, err)
	}
	return plan.Steps, nil
}

// wipe leaves a host on which nothing was ever released. The images stay: they
// are what takes long.
const wipe = `cd
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force >/dev/null
docker volume ls --quiet | xargs --no-run-if-empty docker volume rm >/dev/null
docker network prune --force >/dev/null
rm -rf "$1"`

// makeReady brings the host to where a strategy can begin, with all the steps
// that faults are to happen at.
func (th *testHost) makeReady(ctx context.Context, s strategy, cells []cell) error {
	if s.first {
		// What a first release has left that was undone is what the next begins
		// with: its site is there.
		if th.state.Current != nil {
			if _, err := th.bash(ctx, wipe, th.target.Dir); err != nil {
				return fmt.Errorf("wipe the host: %w", err)
			}
			th.known = nil
		}
		var err error
		th.state, err = th.inspect(ctx)
		return err
	}
	for tries := 0; ; tries++ {
		steps, err := th.stepsOf(ctx, s)
		if err == nil {
			missing := slices.IndexFunc(cells, func(c cell) bool {
				return !slices.ContainsFunc(steps, func(s deploy.PlannedStep) bool { return s.Name == c.step })
			})
			if missing < 0 {
				return nil
			}
			err = fmt.Errorf("%s has no step %s here", s.name, cells[missing].step)
		}
		if tries == 3 {
			return err
		}
		if err := th.run(ctx, &attempt{strategy: undisturbed}); err != nil {
			return fmt.Errorf("bring the host to where %s can begin: %w", s.name, err)
		}
	}
}
