//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestRelease(t *testing.T) {
	short(t)
	m := newMachine(t)
	first := m.mustRelease("1.0.0")
	if got, want := stepNames(first), "stage pull check start-data maintenance backup up migrate verify open record workers await-workers"; got != want {
		t.Errorf("steps of the first release:\n got %s\nwant %s", got, want)
	}
	if first.Downtime != 0 || m.current() != "releases/1.0.0" {
		t.Errorf("downtime %v, current %q", first.Downtime, m.current())
	}

	dotEnv, err := os.ReadFile(filepath.Join(m.dir, "releases/1.0.0/.env"))
	if err != nil {
		t.Fatal(err)
	}
	want := `ADMIN_PASSWORD='admin'
DB_ROOT_PASSWORD='root\'s'
HTTP_PORT='48080'
IMAGE='registry.example/desired/erp@` + testImage.Digest + `'
INSTALL_APPS='erpnext'
RELEASE='1'
RESTIC_PASSWORD=''
RESTIC_REPOSITORY=''
SITE_NAME='erp.example.com'
`
	if string(dotEnv) != want {
		t.Errorf(".env:\n%s\nwant\n%s", dotEnv, want)
	}
	if info, err := os.Stat(filepath.Join(m.dir, "releases/1.0.0/.env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf(".env: %v, %v", info.Mode(), err)
	}
	for _, call := range m.calls() {
		if strings.Contains(call, "admin'") || strings.Contains(call, "root's") {
			t.Errorf("a secret in an argument list: %s", call)
		}
	}

	before := len(m.calls())
	second := m.mustRelease("1.0.1")
	if got, want := stepNames(second), "stage pull check compare measure-downtime keep-assets drain maintenance drain-rest backup down up migrate verify open record workers await-workers end-measuring"; got != want {
		t.Errorf("steps of the second release:\n got %s\nwant %s", got, want)
	}
	if second.Previous != "1.0.0" || m.current() != "releases/1.0.1" {
		t.Errorf("previous %q, current %q", second.Previous, m.current())
	}
	if second.Downtime != 7.75 {
		t.Errorf("downtime %v, want 7.75", second.Downtime)
	}
	// Down with the recorded set, up with the new one, and never a pull
	// between.
	var order []string
	for _, call := range m.calls()[before:] {
		for _, verb := range []string{" down ", " up ", " pull "} {
			if strings.HasPrefix(call, "compose -p erp ") && strings.Contains(call+" ", verb) {
				version := "1.0.1"
				if strings.Contains(call, "/releases/1.0.0/") {
					version = "1.0.0"
				}
				order = append(order, strings.TrimSpace(verb)+" "+version)
			}
		}
	}
	if got := strings.Join(slices.Compact(order), ", "); got != "pull 1.0.1, down 1.0.0, up 1.0.1" {
		t.Errorf("order: %s", got)
	}

	history, _, err := History(t.Context(), m, m.target())
	if err != nil || len(history) != 2 || history[0].Version != "1.0.1" || history[1].Version != "1.0.0" {
		t.Errorf("history: %v, %+v", err, history)
	}
	if _, err := Show(t.Context(), m, m.target(), "0.9"); !errors.Is(err, ErrNoRelease) {
		t.Errorf("show of a version that never was: %v", err)
	}
	state, err := Inspect(t.Context(), m, m.target())
	if err != nil || state.Current == nil || state.Current.Version != "1.0.1" || state.Lock != nil || state.LastRun.Status != RunDone {
		t.Errorf("state: %v, %+v", err, state)
	}
	_, report := MakePlan(t.Context(), state, m.target(), lockOf("1.0.0"))
	if len(report) != 1 || report[0].Code != "deploy.version-released" {
		t.Errorf("a version that was released already: %v", report)
	}
}

func TestReleaseFails(t *testing.T) {
	short(t)
	for _, tc := range []struct {
		name    string
		rule    string
		do      string
		state   HostState
		current string
		texts   []string // of the error
		last    string   // end of the events
	}{
		{
			name: "the registry is gone", rule: "pull --quiet registry.example", do: "echo registry is away >&2; exit 1",
			state: NothingChanged, current: "releases/1.0.0",
			texts: []string{"release 1.0.1 did not go live: step pull failed with exit code 1", "registry is away", "site: 1.0.0 is live, as it was: nothing was changed"},
			last:  "undo ended stage",
		},
		{
			name: "compose can't say which images there have to be", rule: "/releases/1.0.1/.env config --images", do: "echo out of memory >&2; exit 1",
			state: NothingChanged, current: "releases/1.0.0",
			texts: []string{"step check failed with exit code 1", "out of memory", "nothing was changed"},
			last:  "undo ended stage",
		},
		{
			name: "a set without images", rule: "/releases/1.0.1/.env config --images", do: "exit 0",
			state: NothingChanged, current: "releases/1.0.0",
			texts: []string{"step check failed", "the compose set of 1.0.1 names no image", "nothing was changed"},
			last:  "undo ended stage",
		},
		{
			name: "a container is not well", rule: "/releases/1.0.1/.env up ", do: "echo container erp-backend-1 is unhealthy >&2; exit 1",
			state: RolledBack, current: "releases/1.0.0",
			texts: []string{"step up failed with exit code 1", "container erp-backend-1 is unhealthy", "site: 1.0.0 is live again and answers"},
			last:  "undo ended stage",
		},
		{
			name: "a patch fails", rule: "erp.example.com migrate", do: "echo 'Executing erpnext.patches.v15_1.broken in erp.example.com (_5e)'; exit 1",
			state: RolledBack, current: "releases/1.0.0",
			texts: []string{"patch erpnext.patches.v15_1.broken on erp.example.com failed", "site: 1.0.0 is live again and answers", "next: correct erpnext/patches/v15_1/broken.py in the app erpnext", "log: "},
			last:  "undo ended stage",
		},
		{
			name: "jobs never end", rule: " drain 300", do: "echo 'jobs have not ended in 300 s: 2 wait in long' >&2; exit 1",
			state: NothingChanged, current: "releases/1.0.0",
			texts: []string{"step drain failed", "2 wait in long", "nothing was changed"},
			last:  "undo ended stage",
		},
		{
			name: "a dump is cut off", rule: " dump erp.example.com", do: "printf 'CREATE TABLE a (' | gzip; exit 0",
			state: NothingChanged, current: "releases/1.0.0",
			texts: []string{"step backup failed", "the backup of erp.example.com is not good"},
			last:  "undo ended stage",
		},
		{
			name: "a patch fails, and its backup can't be put back", rule: "erp.example.com migrate", do: "exit 1",
			state: NeedsPerson, current: "releases/1.0.0",
			texts: []string{"site: held, and it may be closed", "pipeline unlock --undo", "runner undo", "what failed while putting everything back: migrate", "the backups of the sites: "},
			last:  "undo ended migrate",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("sleep", "#!/bin/sh\n", 0o755) // between attempts
			m.mustRelease("1.0.0")
			m.when("fail", tc.rule, tc.do)
			if tc.state == NeedsPerson {
				m.when("load", " load erp.example.com", "exit 1")
			}
			_, events, err := m.release(t.Context(), "1.0.1")
			var failed *FailedError
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if failed.State != tc.state || m.current() != tc.current {
				t.Errorf("state %q, current %q", failed.State, m.current())
			}
			for _, text := range tc.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("no %q in:\n%v", text, err)
				}
			}
			last := events[len(events)-1]
			for i := len(events) - 1; i >= 0 && events[i].Kind == Output; i-- {
				last = events[i-1]
			}
			if got := string(last.Kind) + " " + last.Step; got != tc.last {
				t.Errorf("last event %q, want %q", got, tc.last)
			}
			if tc.state == NeedsPerson {
				if !slices.ContainsFunc(m.calls(), func(c string) bool { return strings.HasSuffix(c, "close erp.example.com") }) {
					t.Error("maintenance mode was not switched on")
				}
				state, err := Inspect(t.Context(), m, m.target())
				if err != nil {
					t.Fatal(err)
				}
				_, report := MakePlan(t.Context(), state, m.target(), lockOf("1.0.2"))
				if len(report) != 1 || report[0].Code != "deploy.run-held" {
					t.Errorf("the next release: %v", report)
				}
				return
			}
			if _, err := os.Stat(filepath.Join(m.dir, "releases/1.0.1")); err == nil {
				t.Error("the release is left")
			}
			// The same version can be tried again.
			if err := os.RemoveAll(filepath.Join(m.path, "rules")); err != nil {
				t.Fatal(err)
			}
			m.mustRelease("1.0.1")
			if history, _, err := History(t.Context(), m, m.target()); err != nil || len(history) != 2 {
				t.Errorf("history: %v, %v", err, history)
			}
		})
	}
}

func TestConnectionLost(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.cuts = 2
	record, events, err := m.release(t.Context(), "1.0.0")
	if err != nil || record.Version != "1.0.0" || len(record.Steps) == 0 {
		t.Fatalf("%v, %+v", err, record)
	}
	seen := map[EventKind]int{}
	began := map[string]int{}
	for _, e := range events {
		seen[e.Kind]++
		if e.Kind == StepBegan {
			began[e.Step]++
		}
	}
	if seen[Disconnected] == 0 || seen[Reconnected] == 0 {
		t.Errorf("events: %v", seen)
	}
	for step, n := range began {
		if n != 1 {
			t.Errorf("step %s was reported %d times", step, n)
		}
	}
}

// TestConnectionLostAgain holds that a connection that was lost, had again, and
// held, has all the time once more when it is lost again; and that one that
// ends as soon as it is made does not.
func TestConnectionLostAgain(t *testing.T) {
	short(t)
	m := newMachine(t)
	seen := map[EventKind]int{}
	c := &connection{
		dial:    func(context.Context) (Host, error) { return m, nil },
		observe: func(e Event) { seen[e.Kind]++ }, timeout: 1500 * time.Millisecond,
	}
	uses := 0
	err := c.do(t.Context(), func(Host) error {
		if uses++; uses == 3 {
			return nil
		}
		time.Sleep(1200 * time.Millisecond)
		return errors.New("connection lost")
	})
	if err != nil || seen[Disconnected] != 2 || seen[Reconnected] != 2 {
		t.Errorf("lost twice: %v, %v", err, seen)
	}
	err = c.do(t.Context(), func(Host) error { return errors.New("connection lost") })
	if err == nil || err.Error() != "no connection for 1.5s: connection lost" {
		t.Errorf("never held: %v", err)
	}
}

// waits has docker wait until the test says so.
const waits = `touch "$DOCKER_STATE/waiting"
while [ -d "$DOCKER_STATE" ] && [ ! -e "$DOCKER_STATE/go" ]; do sleep 0.05; done`

// interrupt ends the context when a step begins, as Ctrl-C does.
func interrupt(t *testing.T, step string) (context.Context, func(*Deployer)) {
	ctx, cancel := context.WithCancel(t.Context())
	return ctx, func(d *Deployer) {
		observe := d.Observe
		d.Observe = func(e Event) {
			observe(e)
			if e.Kind == StepBegan && e.Step == step {
				cancel()
			}
		}
	}
}

// onCarryingOn does something when it is said that the host carries on.
func onCarryingOn(do func(detach chan<- struct{})) func(*Deployer) {
	return func(d *Deployer) {
		detach := make(chan struct{})
		observe := d.Observe
		d.Detach, d.Observe = detach, func(e Event) {
			observe(e)
			if e.Kind == CarryingOn {
				do(detach)
			}
		}
	}
}

// detachAtOnce detaches then.
var detachAtOnce = onCarryingOn(func(detach chan<- struct{}) { close(detach) })

// deaf does not hear that a run is to stop, a number of times.
type deaf struct {
	*machine
	stops int
}

func (d *deaf) Run(ctx context.Context, argv []string, o host.Options) (host.Result, error) {
	if argv[len(argv)-1] == "stop" && d.stops > 0 {
		d.stops--
		return host.Result{}, errors.New("connection lost")
	}
	return d.machine.Run(ctx, argv, o)
}

func TestInterrupt(t *testing.T) {
	short(t)
	t.Run("before the critical part", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "pull --quiet registry.example", waits)
		ctx, pull := interrupt(t, "pull")
		_, _, err := m.release(ctx, "1.0.1", pull)
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v", err)
		}
		state, err := Inspect(t.Context(), m, m.target())
		if err != nil || state.Lock != nil || state.Current.Version != "1.0.0" || slices.Contains(state.Releases, "1.0.1") {
			t.Errorf("left behind: %v, %+v", err, state)
		}
	})
	t.Run("where the host does not hear it at first", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "pull --quiet registry.example", waits)
		ctx, pull := interrupt(t, "pull")
		_, _, err := m.release(ctx, "1.0.1", pull, func(d *Deployer) {
			d.Dial = func(context.Context) (Host, error) { return &deaf{machine: m, stops: 1}, nil }
		})
		if !errors.Is(err, ErrInterrupted) || m.current() != "releases/1.0.0" {
			t.Errorf("got %v, and %s is current", err, m.current())
		}
	})
	t.Run("in the critical part it is followed to its end", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		ctx, up := interrupt(t, "up")
		record, events, err := m.release(ctx, "1.0.1", up)
		if err != nil || record.Version != "1.0.1" || m.current() != "releases/1.0.1" {
			t.Errorf("got %+v, %v, and %s is current", record, err, m.current())
		}
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == CarryingOn }) {
			t.Error("it is not said that the host carries on")
		}
	})
	t.Run("detached in the critical part", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "/releases/1.0.1/.env up ", waits)
		ctx, up := interrupt(t, "up")
		_, events, err := m.release(ctx, "1.0.1", up, detachAtOnce)
		var failed *FailedError
		if !errors.As(err, &failed) || failed.State != NeedsPerson || !strings.Contains(err.Error(), "the host carries on by itself") {
			t.Fatalf("got %v", err)
		}
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == CarryingOn }) {
			t.Error("it is not said that the host carries on")
		}
		state, err := Inspect(t.Context(), m, m.target())
		if err != nil || state.Lock == nil || state.Lock.Owner != "ann@laptop" || state.Lock.Status != RunRunning {
			t.Errorf("while it goes on: %v, %+v", err, state.Lock)
		}
		_, report := MakePlan(t.Context(), state, m.target(), lockOf("1.0.2"))
		if !slices.ContainsFunc(report, func(p problem.Problem) bool { return p.Code == "deploy.locked" }) {
			t.Errorf("another release meanwhile: %v", report)
		}
		m.write("go", "", 0o600)
		for deadline := time.Now().Add(20 * time.Second); m.current() != "releases/1.0.1"; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the run did not end")
			}
		}
		for state.Lock != nil {
			if state, err = Inspect(t.Context(), m, m.target()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
