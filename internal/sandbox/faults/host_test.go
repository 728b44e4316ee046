package faults_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/faults"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

const (
	// cellTime is what a run may take that nothing disturbs, and for each fault
	// once more: one that was cut off goes on when the host has booted, or at the
	// next full minute. It is several times what a run takes: it is to end what
	// hangs, not to judge how fast the machine is.
	cellTime = 5 * time.Minute
	// siteTime is how long the site and all containers may take to be well
	// after the run has ended.
	siteTime = 2 * time.Minute
)

// testHost is a host on which one release after the other is tried.
type testHost struct {
	*suite
	name string
	host *sandboxhost.Host
	// kept says that the host stays as it is when something goes wrong.
	kept bool
	// state is how the last release left the host; the zero value is not
	// known.
	state deploy.State
	// known are the rows that its site had then.
	known []string
	tries int
	// before are the releases of the prepared disk: a version names one image for ever.
	before int
}

// ready starts the host if it is not there yet, with the prepared disk.
func (th *testHost) ready(ctx context.Context) (err error) {
	if th.host != nil {
		return nil
	}
	if err := sandboxhost.CopyDisk(ctx, th.world.Client, preparedDisk, th.name); err != nil {
		return err
	}
	th.host, err = th.world.AnotherHost(ctx, th.name)
	return err
}

// reset brings the host back to the prepared disk.
func (th *testHost) reset(ctx context.Context) error {
	th.state, th.known = deploy.State{}, nil
	return errors.Join(
		th.host.Cut(ctx),
		sandboxhost.CopyDisk(ctx, th.world.Client, preparedDisk, th.name),
		th.host.Start(ctx),
	)
}

// onHost uses a connection of its own that no fault is put upon, until an
// answer of the host is had: the host may be down at the moment.
func (th *testHost) onHost(ctx context.Context, use func(*host.Host) error) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		h, err := th.order(th.host, th.host.SSHAddress(), pushed{}, "").dial(ctx)
		if err == nil {
			err = use(h)
			_ = h.Close()
			var answer *host.RunError
			if err == nil || errors.As(err, &answer) {
				return err
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// bash returns what a script prints on the host.
func (th *testHost) bash(ctx context.Context, script string, arguments ...string) (out string, err error) {
	err = th.onHost(ctx, func(h *host.Host) error {
		result, err := h.Run(ctx, append([]string{"bash", "-c", script, "bash"}, arguments...), host.Options{})
		out = result.Stdout
		return err
	})
	return out, err
}

// inspect asks the host for its state.
func (th *testHost) inspect(ctx context.Context) (state deploy.State, err error) {
	err = th.onHost(ctx, func(h *host.Host) error {
		state, err = deploy.Inspect(ctx, h, th.target)
		return err
	})
	return state, err
}

// usedTime prints, in seconds, how much processor time everything on the host
// has taken since it booted: in cgroups of the second version or the first.
const usedTime = `cd /sys/fs/cgroup
{ awk '$1 == "usage_usec" { print $2 / 1e6 }' cpu.stat || awk '{ print $1 / 1e9 }' cpuacct/cpuacct.usage; } 2>/dev/null`

// used returns that time: on a busy machine the time on the wall says little.
func (th *testHost) used(ctx context.Context) (float64, error) {
	out, err := th.bash(ctx, usedTime)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

// awaitEnd ends when no run has the deploy lock.
const awaitEnd = `while [ -e "$1/lock" ]; do sleep 0.1; done`

// awaitHealthy ends when Docker has looked after every container. It asks for
// less than all that the pipeline wants to know of a host.
const awaitHealthy = `while docker ps --format '{{.Status}}' | grep -q -e starting -e unhealthy; do sleep 0.2; done`

// runsAfter shows what the runs since run $2 have written down.
const runsAfter = `cd "$1" && cat lock 2>/dev/null
crontab -l 2>/dev/null
for run in runs/*; do
	[[ ${run#runs/} > $2 ]] || continue
	echo "== $run/journal"; cat "$run/journal"
	echo "== $run/log, its end"; grep -v '^@journal' "$run/log" | tail -n 40
done
echo "== containers"; docker ps --all --format '{{.Names}} {{.Image}} {{.Status}}'
echo "== the site, from the port on the host inwards"
for name in "$(hostname -I | cut -d' ' -f1)" 127.0.0.1; do
	timeout 5 bash -c "exec 3<>/dev/tcp/$name/$3 && printf 'GET /api/method/ping HTTP/1.0\r\n\r\n' >&3 && head -n 1 <&3" || echo "$name: $?"
done
for at in frontend:8080 backend:8000; do
	timeout 5 docker compose -p "$4" exec -T "${at%:*}" curl --silent --show-error --include --header "X-Frappe-Site-Name: $5" \
		"http://127.0.0.1:${at#*:}/api/method/ping" </dev/null | head -n 1 || echo "$at: $?"
done`

// attempt is a run on the host in which faults happen, one after the other.
type attempt struct {
	strategy strategy
	cells    []cell
	log      func(format string, arguments ...any)

	// label names the attempt, version what is to go live, old what is live
	// before, and after the newest run before.
	label, version, old, after string
	order                      order
	plan                       deploy.Plan
	writer                     *writer.Writer
	client                     *client
	// caused are the cells of which the fault happened, missed the others.
	caused, missed []cell
}

func (a *attempt) String() string {
	var happened []string
	for _, c := range a.caused {
		happened = append(happened, c.fault.name+" at "+c.step)
	}
	return fmt.Sprintf("%s (%s, %s over %s, with %s)", a.label, a.strategy.name, a.version, a.old, cmp.Or(strings.Join(happened, ", "), "no fault"))
}

// run has the strategy's order carried out, causes each fault when its step
// begins, and then checks everything that must hold afterwards. It does not
// help the host. The error has all that does not hold.
func (th *testHost) run(ctx context.Context, a *attempt) (err error) {
	if a.log == nil {
		a.log = func(string, ...any) {}
	}
	if err := th.begin(ctx); err != nil {
		return err
	}
	if err := th.makeReady(ctx, a.strategy, a.cells); err != nil {
		return err
	}
	// Another process may be measuring.
	done, err := localengine.Shared(ctx, th.cache)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, cellTime*time.Duration(1+len(a.cells)))
	defer cancel()
	laps := &laps{last: time.Now()}
	defer func() {
		if err == nil {
			a.log("%s: %s", a, laps)
			return
		}
		err = fmt.Errorf("%s: %w\n%s", a, err, th.account(context.WithoutCancel(ctx), a))
		th.state, th.known = deploy.State{}, nil
		if !th.kept {
			err = errors.Join(err, th.reset(context.WithoutCancel(ctx)))
		}
	}()
	if err := th.prepare(ctx, a); err != nil {
		return err
	}
	defer a.writer.Stop()
	used, err := th.used(ctx)
	if err != nil {
		return err
	}
	laps.lap("prepare")

	network, err := faults.Listen(ctx, th.host.SSHAddress())
	if err != nil {
		return err
	}
	defer network.Close()
	a.order = a.order.through(network.Address())
	if err := th.setGate(ctx, a, 0); err != nil {
		return err
	}
	if a.client, err = a.order.start(ctx); err != nil {
		return err
	}
	if err := th.inject(ctx, a, network, laps); err != nil {
		return err
	}
	select {
	case <-a.client.ended:
	case <-ctx.Done():
		return errors.New("the client has not come to an end")
	}
	laps.lap("report")
	for _, step := range a.client.last.Record.Steps {
		laps.text = append(laps.text, fmt.Sprintf("%s %.1fs", step.Name, step.Seconds))
	}
	if _, err := th.bash(ctx, awaitEnd, th.target.Dir); err != nil {
		return fmt.Errorf("the run has not ended: %w", err)
	}
	laps.lap("end of run")
	if now, err := th.used(ctx); err == nil && len(a.cells) == 0 {
		laps.text = append(laps.text, fmt.Sprintf("%.1fs of processor time", now-used))
	}
	if err := th.settle(ctx, a); err != nil {
		return err
	}
	laps.lap("site")
	err = th.judge(ctx, a)
	laps.lap("judge")
	return err
}

// begin looks what is on the host, and waits for its site, if that is not known.
func (th *testHost) begin(ctx context.Context) (err error) {
	if th.state.Docker != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cellTime)
	defer cancel()
	if th.state, err = th.inspect(ctx); err != nil || th.state.Current == nil {
		return err
	}
	// It has just been booted.
	return th.awaitSite(ctx)
}

// prepare plans the run, and has the writer begin.
func (th *testHost) prepare(ctx context.Context, a *attempt) (err error) {
	th.tries++
	a.label = strings.ReplaceAll(fmt.Sprintf("%03d-%s", th.before+th.tries, a.strategy.name), " ", "-")
	if a.order, err = th.orderFor(ctx, a.strategy, a.label); err != nil {
		return err
	}
	plan, report := a.order.plan(ctx, th.state)
	if err := report.Err(); err != nil {
		return err
	}
	a.plan, a.version = plan, plan.Version
	if live := th.state.Current; live != nil {
		a.old = live.Version
	}
	if run := th.state.LastRun; run != nil {
		a.after = run.ID
	}
	a.writer = writer.Start(ctx, th.site(), a.label)
	return nil
}

// inject causes the faults. Each time the gate for the next is set before the run
// goes on.
func (th *testHost) inject(ctx context.Context, a *attempt, network *faults.Proxy, laps *laps) error {
	on := &faultTarget{host: th.host, network: network, client: a.client, newer: th.newer}
	for n, c := range a.cells {
		says, err := th.awaitGate(ctx, a, n)
		if err != nil {
			return fmt.Errorf("the run has not begun step %s: %w", c.step, err)
		}
		laps.lap(c.step + " " + says)
		if err := th.setGate(ctx, a, n+1); err != nil {
			return err
		}
		if says != "at" {
			a.missed = append(a.missed, c)
			continue
		}
		if c.fault.needsClient {
			if err := a.client.until(ctx, "connected again", func(away bool, _ int) bool { return !away }); err != nil {
				return err
			}
		}
		a.caused = append(a.caused, c)
		if err := th.cause(ctx, a, n, on); err != nil {
			return err
		}
		laps.lap(c.fault.name)
		if c.fault.boots {
			if err := th.setGate(ctx, a, n+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// cause opens a gate and has the fault happen. The last step is not let go before:
// what happens after the run is over is not for the run to mend.
func (th *testHost) cause(ctx context.Context, a *attempt, n int, on *faultTarget) error {
	c := a.cells[n]
	open := func() error {
		_, err := th.bash(ctx, openGate, a.gate(n))
		return err
	}
	if c.step != a.plan.Steps[len(a.plan.Steps)-1].Name {
		if err := open(); err != nil {
			return err
		}
		return c.fault.inject(ctx, on)
	}
	var both errgroup.Group
	both.Go(func() error { return c.fault.inject(ctx, on) })
	time.Sleep(100 * time.Millisecond)
	both.Go(open)
	return both.Wait()
}

// account returns what the host has to say about an attempt that went wrong.
func (th *testHost) account(ctx context.Context, a *attempt) string {
	// The reason may be that the time is up.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	said, err := th.bash(ctx, runsAfter, th.target.Dir, a.after, strconv.Itoa(th.target.HTTPPort), th.target.Project, th.target.Sites[0])
	if err != nil {
		said += "\nno more to be had from the host: " + err.Error()
	}
	if a.client != nil {
		said += "\nthe client said: " + a.client.last.Error
	}
	return said
}

// settle waits until the site is well, or, where a first release was undone,
// takes in what is there.
func (th *testHost) settle(ctx context.Context, a *attempt) (err error) {
	if th.state, err = th.inspect(ctx); err != nil {
		return err
	}
	if last := th.state.LastRun; a.old == "" && last != nil && last.Status == deploy.RunUndone {
		return nil
	}
	return th.awaitSite(ctx)
}

// awaitSite waits until the site answers and all containers are well: what a
// restart of Docker has ended may be on its way up still.
func (th *testHost) awaitSite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, siteTime)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		var pong any
		err := th.ask(ctx, "/api/method/ping", &pong)
		if err == nil {
			_, err = th.bash(ctx, awaitHealthy)
		}
		if err == nil {
			if th.state, err = th.inspect(ctx); err == nil {
				err = unwell(th.state)
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("the run has ended, but the site is not well: %w", err)
		}
	}
}

func unwell(state deploy.State) error {
	if len(state.Containers) == 0 {
		return errors.New("no containers")
	}
	for _, c := range state.Containers {
		if !c.OK() {
			return fmt.Errorf("container %s is %s %s", c.Name, c.State, c.Health)
		}
	}
	return nil
}

// laps is where the time of a try went.
type laps struct {
	last time.Time
	text []string
}

func (l *laps) lap(name string) {
	now := time.Now()
	l.text = append(l.text, fmt.Sprintf("%s %.1fs", name, now.Sub(l.last).Seconds()))
	l.last = now
}

func (l *laps) String() string { return strings.Join(l.text, ", ") }
