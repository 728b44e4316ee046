package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/faults"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
)

// hosts is how many hosts try the matrix side by side.
const hosts = 2

// With TEST_MATRIX=all the whole matrix is tried, which takes hours, and not a
// sample; MATRIX_SEED has another sample tried: the one of a number, as a run has
// printed it, or with "random" any.
const (
	wholeVariable = "TEST_MATRIX"
	seedVariable  = "MATRIX_SEED"
)

// fault is something that goes wrong.
type fault struct {
	name string
	// inject causes it.
	inject func(context.Context, *faultTarget) error
	// kills says that it kills the client, which reports nothing afterwards.
	kills bool
	// needsClient says that it happens to the client's connection.
	needsClient bool
	// boots says that nothing that runs on the host outlives it.
	boots bool
	// carriesOn says that the host is not touched, so its run is not either:
	// what it is about goes live.
	carriesOn bool
}

// faultTarget is what a fault happens to.
type faultTarget struct {
	host    *sandboxhost.Host
	network *faults.Proxy
	client  *client
	// newer says that the host is of the newer generation.
	newer bool
}

// columns are the faults.
var columns = []fault{
	{name: "client killed", kills: true, carriesOn: true, inject: func(_ context.Context, on *faultTarget) error {
		return on.client.process.Process.Kill()
	}},
	{name: "network cut", needsClient: true, carriesOn: true, inject: cutNetwork},
	{name: "sshd killed", needsClient: true, carriesOn: true, inject: func(ctx context.Context, on *faultTarget) error { return on.host.KillSSH(ctx) }},
	{name: "Docker restarted", inject: func(ctx context.Context, on *faultTarget) error { return on.host.RestartDocker(ctx) }},
	{name: "dockerd crashed", inject: crashDocker},
	{name: "host restarted", boots: true, inject: func(ctx context.Context, on *faultTarget) error { return on.host.Restart(ctx) }},
}

// crashDocker kills the Docker engine. A newer one is killed together with its
// containers' parents. Docker 20.10 may never start a container again of which
// the parent was killed too, until containerd is restarted: it says that its id
// is in use, and no run can mend that. So there the containers outlive it, until
// the next one ends them.
func crashDocker(ctx context.Context, on *faultTarget) error {
	if on.newer {
		return on.host.CrashDocker(ctx)
	}
	return on.host.KillDocker(ctx)
}

// cutNetwork drops everything that is sent until the client has noticed by
// itself.
func cutNetwork(ctx context.Context, on *faultTarget) error {
	before := 0
	_ = on.client.until(ctx, "", func(_ bool, lost int) bool { before = lost; return true })
	on.network.BlackHole()
	defer on.network.Heal()
	return on.client.until(ctx, "noticed that it hears nothing", func(_ bool, lost int) bool { return lost > before })
}

// TestMatrix has faults happen at the steps of first releases, releases and
// rollbacks, each time in a real run over a live site in use. The steps are
// those of the plan. Afterwards the old release or the new one is live, whole,
// every row that was ever acknowledged is there or in a dump that the run has
// named, and the next release can begin.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a sandbox with several hosts")
	}
	suite := newSuite(t)
	testHosts := []*testHost{{suite: suite, name: hostName, host: suite.world.Host, before: preparedReleases}}
	for n := 2; n <= hosts; n++ {
		testHosts = append(testHosts, &testHost{suite: suite, name: fmt.Sprintf("%s-%d", hostName, n), before: preparedReleases})
	}
	all, err := testHosts[0].allSteps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var jobs []job
	if os.Getenv(wholeVariable) == "all" {
		jobs = whole(all)
	} else {
		jobs = sample(all, suite.seed)
	}
	cells := 0
	for _, j := range jobs {
		cells += len(j.cells)
	}
	t.Logf("%d cells in %d runs; %s=%d makes the same sample", cells, len(jobs), seedVariable, suite.seed)
	begun := time.Now()
	queue := newQueue(jobs)
	var work errgroup.Group
	for _, th := range testHosts {
		work.Go(func() error {
			for {
				j, ok := queue.next()
				if !ok {
					break
				}
				t.Run(j.String(), func(t *testing.T) { th.try(t, j, queue) })
			}
			if th.tries == 0 {
				return nil
			}
			// What the last cell left behind is shown by one more release.
			return th.run(t.Context(), &attempt{strategy: undisturbed, log: t.Logf})
		})
	}
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("the matrix took %v", time.Since(begun).Round(time.Second))
}

// usualSeed is that of the sample that the suite tries: always the same, so that a
// change is judged by what was tried before it.
const usualSeed = 3433447732

// seed returns what decides on a sample.
func seed() (uint64, error) {
	switch text := os.Getenv(seedVariable); text {
	case "":
		return usualSeed, nil
	case "random":
		return uint64(rand.Uint32()), nil
	default:
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", seedVariable, err)
		}
		return seed, nil
	}
}

// allSteps are the steps of all strategies and their variants.
func (th *testHost) allSteps(ctx context.Context) (steps, error) {
	var err error
	if th.state, err = th.inspect(ctx); err != nil {
		return nil, err
	}
	all := steps{}
	for _, strategy := range strategies {
		for _, s := range strategy.variants() {
			planned, err := th.stepsOf(ctx, s)
			if err != nil {
				return nil, err
			}
			all[s.name] = namesOf(planned)
		}
	}
	return all, nil
}

// try does a job, and puts the cells back that an earlier fault of the same
// run has left no chance.
func (th *testHost) try(t *testing.T, j job, queue *queue) {
	if err := th.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := &attempt{strategy: j.strategy, cells: j.cells, log: t.Logf}
	if err := th.run(t.Context(), a); err != nil {
		t.Error(err)
		return
	}
	for _, c := range a.missed {
		again := job{strategy: j.strategy, cells: []cell{c}, tries: j.tries + 1}
		if again.tries > 3 {
			t.Error(errors.New("the run never came to " + again.String()))
			continue
		}
		t.Logf("once more: %s", again)
		queue.add(again)
	}
}
