package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/faults"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
)

const (
	// cellTime is what a cell may take in all. A run that was cut off goes on
	// when the host has booted, or at the next full minute.
	cellTime = 3 * time.Minute
	// siteTime is how long the site and all containers may take to be well
	// after the run has ended.
	siteTime = time.Minute
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
	tries int
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
	th.state = deploy.State{}
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

// awaitStep ends when the run of version $2 begins the step $3, and says so,
// or when it has ended without.
const awaitStep = `dir=$1 version=$2 step=$3
until set -- "$dir"/runs/*-"$version"-*/journal && [ -e "$1" ]; do sleep 0.02; done
grep -E -m 1 " begin [0-9]+-$step\$| run-end " < <(exec tail --pid=$$ -n +1 -f "$1")`

// awaitEnd ends when no run has the deploy lock.
const awaitEnd = `while [ -e "$1/lock" ]; do sleep 0.1; done`

// awaitHealthy ends when Docker has looked after every container. It asks for
// less than all that the pipeline wants to know of a host.
const awaitHealthy = `while docker ps --format '{{.Status}}' | grep -q -e starting -e unhealthy; do sleep 0.2; done`

// runsOf shows what the runs of version $2 have written down.
const runsOf = `cd "$1" && cat lock 2>/dev/null
crontab -l 2>/dev/null
for run in runs/*-"$2"-*; do
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

// attempt is a release over a live one.
type attempt struct {
	version, old string
	next         pushed
	row          string
	writer       *writer
}

// try releases the image that is not live over the one that is, has the fault
// happen when the step begins, and then checks everything that must hold
// afterwards. It does not help the host. The error has all that does not hold.
func (th *testHost) try(t *testing.T, step string, f fault) (err error) {
	t.Helper()
	// Another process may be measuring.
	done, err := localengine.Shared(t.Context(), th.cache)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(t.Context(), cellTime)
	defer cancel()
	th.tries++
	name := strings.Fields(fmt.Sprintf("%03d %s %s", th.tries, step, f.name))
	a := attempt{version: strings.Join(name, "-"), next: th.images[0]}
	laps := &laps{last: time.Now()}
	defer func() {
		if err == nil {
			t.Logf("%s: %s", a.version, laps)
			return
		}
		// The reason may be that the time is up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		said, failed := th.bash(ctx, runsOf, th.target.Dir, a.version, strconv.Itoa(th.target.HTTPPort), th.target.Project, th.target.Sites[0])
		err = fmt.Errorf("release %s over %s: %w\n%s", a.version, a.old, err, said)
		if failed != nil {
			err = fmt.Errorf("%w\nno more to be had from the host: %w", err, failed)
		}
		if !th.kept {
			err = errors.Join(err, th.reset(context.WithoutCancel(ctx)))
		}
	}()
	user := siteUser{th.host.SiteAddress()}
	if th.state.Docker == "" {
		if th.state, err = th.inspect(ctx); err != nil {
			return err
		}
		if th.state.Current != nil {
			// It has just been booted.
			if err := th.awaitSite(ctx, user); err != nil {
				return err
			}
		}
	}
	used, err := th.used(ctx)
	if err != nil {
		return err
	}
	if live := th.state.Current; live != nil {
		a.old = live.Version
		if live.Image.Digest == a.next.image.Digest {
			a.next = th.images[1]
		}
		if a.row, err = user.write(ctx, a.version+" before", "before"); err != nil {
			return fmt.Errorf("before the release: %w", err)
		}
		a.writer = user.keepWriting(ctx, a.version)
		defer a.writer.end()
	}
	laps.lap("prepare")

	network, err := faults.Listen(ctx, th.host.SSHAddress())
	if err != nil {
		return err
	}
	defer network.Close()
	c, err := f.client(ctx, th.order(th.host, network.Address(), a.next, a.version))
	if err != nil {
		return err
	}
	said, err := th.inject(ctx, a, step, f, &faultTarget{host: th.host, network: network, client: c}, laps)
	if err != nil {
		return err
	}
	if _, err := th.bash(ctx, awaitEnd, th.target.Dir); err != nil {
		return fmt.Errorf("the run has not ended: %w", err)
	}
	laps.lap("end of run")
	if now, err := th.used(ctx); err == nil && f.inject == nil {
		laps.text = append(laps.text, fmt.Sprintf("%.1fs of processor time", now-used))
	}
	if err := th.awaitSite(ctx, user); err != nil {
		return err
	}
	laps.lap("site")
	err = th.judge(ctx, user, a, f, said)
	laps.lap("judge")
	return err
}

// inject waits for the step, causes the fault, and returns the client's report.
func (th *testHost) inject(ctx context.Context, a attempt, step string, f fault, on *faultTarget, laps *laps) (report, error) {
	if f.inject != nil {
		type answer struct {
			line string
			err  error
		}
		begun := make(chan answer, 1)
		go func() {
			line, err := th.bash(ctx, awaitStep, th.target.Dir, a.version, step)
			begun <- answer{line, err}
		}()
		select {
		case got := <-begun:
			if got.err != nil || !strings.Contains(got.line, " begin ") {
				return report{}, errors.Join(fmt.Errorf("the run has not begun step %s: %s", step, got.line), got.err)
			}
		case said := <-on.client.report:
			return said, errors.Join(fmt.Errorf("the release ended before step %s", step), said.err)
		}
		laps.lap("step begins")
		if err := f.inject(ctx, on); err != nil {
			return report{}, err
		}
		laps.lap("fault")
	}
	select {
	case said := <-on.client.report:
		laps.lap("report")
		for _, step := range said.record.Steps {
			laps.text = append(laps.text, fmt.Sprintf("%s %.1fs", step.Name, step.Seconds))
		}
		return said, nil
	case <-ctx.Done():
		return report{}, errors.New("the client has not come to an end")
	}
}

// awaitSite waits until the site answers and all containers are well: what a
// restart of Docker has ended may be on its way up still.
func (th *testHost) awaitSite(ctx context.Context, u siteUser) error {
	ctx, cancel := context.WithTimeout(ctx, siteTime)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		err := u.ask(ctx, "GET", "/api/method/ping", nil, nil)
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

// judge checks that what must always hold holds on the host after the run.
func (th *testHost) judge(ctx context.Context, u siteUser, a attempt, f fault, said report) error {
	var wrong []error
	expect := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}

	// It is the old release or the new one, and the run knows which.
	state := th.state
	expect(state.Lock == nil, "the deploy lock is held by %+v", state.Lock)
	if state.Current == nil || state.LastRun == nil {
		return errors.Join(append(wrong, errors.New("no release is live, or no run on record"))...)
	}
	live := state.Current.Version
	switch state.LastRun.Status {
	case deploy.RunDone:
		expect(live == a.version, "the run is done, and %s is live", live)
	case deploy.RunUndone:
		expect(live == a.old, "the run is undone, and %s is live", live)
		expect(!f.carriesOn, "the run was undone, though its host was not touched")
	default:
		expect(false, "the run %s is %s", state.LastRun.ID, state.LastRun.Status)
	}
	expect(strings.Contains(state.LastRun.ID, "-"+a.version+"-"), "the last run is %s", state.LastRun.ID)

	// It is that release only, and the whole of it.
	whole := th.images[slices.IndexFunc(th.images[:], func(p pushed) bool { return p.image.Digest == state.Current.Image.Digest })]
	image := th.pulled + "@" + whole.image.Digest
	for _, c := range state.Containers {
		expect(!strings.HasPrefix(c.Image, th.pulled) || c.Image == image, "container %s runs %s, and %s is live", c.Name, c.Image, image)
	}
	all, err := th.bash(ctx, `docker ps --all --format '{{.Names}}'`)
	expect(err == nil, "list containers: %w", err)
	for _, name := range strings.Fields(all) {
		known := slices.ContainsFunc(state.Containers, func(c compose.Container) bool { return c.Name == name })
		expect(known, "container %s is left", name)
	}
	versions, err := u.versions(ctx)
	expect(err == nil, "ask for versions: %w", err)
	expect(maps.Equal(versions, versionsOf(whole.lock)), "the site has the apps %v, and %v is live", versions, versionsOf(whole.lock))

	// Nothing that a user wrote is lost.
	if a.writer != nil {
		a.writer.end()
		notes, err := u.notes(ctx, a.version)
		expect(err == nil, "list notes: %w", err)
		var lost []string
		for _, name := range a.writer.saved {
			if !notes[name] {
				lost = append(lost, name)
			}
		}
		expect(len(lost) == 0, "%d notes are lost of %d that were saved during the release", len(lost), len(a.writer.saved))
		expect(len(a.writer.saved) > 0, "no note could be saved: the writer proves nothing")
		err = u.ask(ctx, "GET", "/api/resource/Note/"+a.row, nil, nil)
		expect(err == nil, "the note that was there before is lost: %w", err)
	}

	// The client reported what is so.
	var failed *deploy.FailedError
	switch {
	case f.kills:
		expect(said.killed, "the client was to be killed, and said %w", said.err)
	case said.err == nil:
		expect(live == a.version && said.record.Version == a.version, "the client says that %s is live, and it is %s", said.record.Version, live)
	case errors.As(said.err, &failed):
		expect(failed.State != deploy.NeedsPerson, "the client says that a person is needed: %w", said.err)
		expect(live == a.old, "the client says that %s did not go live, and %s is live: %w", a.version, live, said.err)
	default:
		expect(false, "the client says: %w", said.err)
	}

	// The next release may begin.
	next := th.order(th.host, th.host.SSHAddress(), whole, a.version+"-next")
	_, report := deploy.MakePlan(ctx, state, next.target(), next.Lock)
	expect(report.Err() == nil, "nothing can be released now: %w", report.Err())
	return errors.Join(wrong...)
}

// versionsOf are the apps' versions as the site is to tell them.
func versionsOf(lock release.Lock) map[string]string {
	versions := map[string]string{}
	for _, app := range lock.Apps {
		versions[app.Name] = app.Version
	}
	return versions
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
