package faults_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/faults"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
)

// hosts is how many hosts try rows of the matrix side by side.
const hosts = 2

// fault is something that goes wrong.
type fault struct {
	name string
	// inject causes it.
	inject func(context.Context, *faultTarget) error
	// kills says that it is the client's death, so the client is a process of
	// its own and has nothing to say afterwards.
	kills bool
	// carriesOn says that the host is not touched, so its run is not either:
	// the release goes live.
	carriesOn bool
}

// faultTarget is what a fault can inject.
type faultTarget struct {
	host    *sandboxhost.Host
	network *faults.Proxy
	client  *client
}

func (f fault) client(ctx context.Context, o order) (*client, error) {
	if f.kills {
		return o.startProcess(ctx)
	}
	return o.start(ctx), nil
}

// columns are the faults. A client that is killed says nothing afterwards, and
// one whose host was hit might help it: so the host that has lost its client
// loses Docker as well, and gets no help. What happens to the
// network and to the SSH server at the same moment is one loss to the client,
// and nothing to the run: that release has to succeed, and so shows that the
// ones before have left nothing behind that a next release minds.
var columns = []fault{
	{name: "client killed and Docker restarted", kills: true, inject: func(ctx context.Context, on *faultTarget) error {
		return errors.Join(on.client.process.Process.Kill(), on.host.RestartDocker(ctx))
	}},
	{name: "host restarted", inject: func(ctx context.Context, on *faultTarget) error { return on.host.Restart(ctx) }},
	{name: "network cut and sshd killed", carriesOn: true, inject: cutNetwork},
}

// cutNetwork swallows everything until the client has noticed by itself. When
// it comes back, its server is another one.
func cutNetwork(ctx context.Context, on *faultTarget) error {
	on.network.BlackHole()
	defer on.network.Heal()
	if err := on.host.KillSSH(ctx); err != nil {
		return err
	}
	select {
	case <-on.client.disconnected:
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("the client has not noticed in 30 s that it hears nothing")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TestMatrix has every fault happen at every step of a release, TestMatrix/
// STEP/FAULT, each time in a real release over a live site in use. The steps
// are those of the plan. Afterwards the old release or the new one is live,
// whole, with everything that was ever saved, and the next one can begin.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a sandbox with several hosts")
	}
	su := stage(t)
	testHosts := []*testHost{{suite: su, name: hostName, host: su.world.Host}}
	for n := 2; n <= hosts; n++ {
		testHosts = append(testHosts, &testHost{suite: su, name: fmt.Sprintf("%s-%d", hostName, n)})
	}
	steps, err := su.steps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := make(chan string, len(steps))
	for _, step := range steps {
		rows <- step
	}
	close(rows)
	begun := time.Now()
	var work errgroup.Group
	for _, s := range testHosts {
		work.Go(func() error {
			for step := range rows {
				t.Run(step, func(t *testing.T) { s.row(t, step) })
			}
			if s.tries == 0 {
				return nil
			}
			// What the last cell left behind is shown by one more release.
			return s.try(t, "", fault{name: "undisturbed"})
		})
	}
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("the matrix took %v", time.Since(begun).Round(time.Second))
}

// steps are the names of a release's steps, in order.
func (su *suite) steps(ctx context.Context) ([]string, error) {
	s := &testHost{suite: su, name: hostName, host: su.world.Host}
	state, err := s.inspect(ctx)
	if err != nil {
		return nil, err
	}
	o := su.order(s.host, s.host.SSHAddress(), su.images[0], "next")
	plan, report := deploy.MakePlan(ctx, state, o.target(), o.Lock)
	var names []string
	for _, step := range plan.Steps {
		names = append(names, step.Name)
	}
	return names, report.Err()
}

func (s *testHost) row(t *testing.T, step string) {
	for _, f := range columns {
		t.Run(f.name, func(t *testing.T) {
			if err := s.ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.try(t, step, f); err != nil {
				t.Error(err)
			}
		})
	}
}
