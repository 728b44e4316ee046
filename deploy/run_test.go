package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// machine is this machine as a deploy host: real shells run real scripts on
// real files. Only the docker command is a script of the test's, which notes
// what it is called with, and fails where the test says so: with a real engine
// the sequence runs in the end-to-end tests.
type machine struct {
	t    *testing.T
	dir  string
	path string

	mu   sync.Mutex
	cuts int // how many times following is cut off
}

const dockerStandIn = `#!/bin/sh
printf '%s\n' "$*" >>"$DOCKER_STATE/calls"
for rule in "$DOCKER_STATE"/rules/*; do
	[ -f "$rule.do" ] || continue
	case "$*" in *"$(cat "$rule")"*)
		. "$rule.do"
	esac
done
case "$*" in
"version "*) echo 20.10.24 ;;
"compose version --short") echo 2.40.3 ;;
"info "*) echo / ;;
"logs "*) printf '10.00 10.01 200\n12.00 12.01 000\n19.50 19.75 200\n' ;;
"image inspect --format {{range .RepoDigests}}"*) shift 4; printf '%s\n' "$@" ;;
"image inspect --format"*) exit 1 ;; # not pulled yet
*" config --images") echo mariadb:10.11 ;;
"network inspect bridge"*) cat "$DOCKER_STATE/started" ;;
*" tables erp.example.com") echo 1 ;;
*" size  erp.example.com") echo 1000 ;;
*" maintenance get erp.example.com") echo '{"erp.example.com": null}' ;;
*" serving erp.example.com") echo erp.example.com ;;
*" close erp.example.com") echo 0 ;;
*" dump erp.example.com") printf '%s' "$DUMP" | gzip ;;
*" load erp.example.com 1") gzip --decompress >"$DOCKER_STATE/loaded" ;;
esac
exit 0
`

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "srv"), path: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(m.path, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.write("docker", dockerStandIn, 0o755)
	m.write("started", "once\n", 0o644)
	// The crontab of whoever runs the tests is not touched.
	m.write("crontab", "#!/bin/sh\n[ \"$1\" = - ] && exec cat >\"$DOCKER_STATE/crontab.txt\"\nexec cat \"$DOCKER_STATE/crontab.txt\"\n", 0o755)
	return m
}

func (m *machine) write(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.path, name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// when has docker do something when its arguments contain a text.
func (m *machine) when(name, text, do string) {
	m.write("rules/"+name+".do", do, 0o600)
	m.write("rules/"+name, text, 0o600)
}

func (m *machine) calls() []string {
	data, err := os.ReadFile(filepath.Join(m.path, "calls"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func (m *machine) env() []string {
	return append(os.Environ(), "PATH="+m.path+":"+os.Getenv("PATH"), "DOCKER_STATE="+m.path, "DUMP="+dumped)
}

// dumped is what the stand-in's databases hold.
const dumped = "CREATE TABLE `a` (\n);\n-- Dump completed on 2026-01-01\n"

func (m *machine) read(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.path, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func (m *machine) Run(ctx context.Context, argv []string, o host.Options) (host.Result, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin = m.env(), o.Stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	result := host.Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		err = &host.RunError{Command: host.Quote(argv), Exit: ended.ExitCode(), Stderr: result.Stderr}
	}
	return result, err
}

func (m *machine) UploadTree(_ context.Context, dir string, files []host.File) error {
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Data, f.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) StartDetached(_ context.Context, argv []string, log string) (host.Job, error) {
	file, err := os.Create(log)
	if err != nil {
		return host.Job{}, err
	}
	defer file.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env(), file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return host.Job{}, err
	}
	go func() {
		_ = cmd.Wait()
		_ = os.WriteFile(log+".exit", fmt.Append(nil, cmd.ProcessState.ExitCode()), 0o600)
	}()
	return host.Job{Log: log, PID: cmd.Process.Pid}, nil
}

func (m *machine) Follow(ctx context.Context, job, file string, offset int64, w io.Writer) (int64, host.JobState, error) {
	for {
		exit, err := os.ReadFile(job + ".exit")
		over := err == nil && len(exit) > 0
		data, err := os.ReadFile(file)
		if err != nil {
			return offset, host.JobState{}, err
		}
		n, _ := w.Write(data[offset:])
		offset += int64(n)
		if over {
			state := host.JobState{Phase: host.JobExited}
			_, _ = fmt.Sscan(string(exit), &state.Exit)
			if state.Exit < 0 {
				state.Phase = host.JobGone
			}
			return offset, state, nil
		}
		m.mu.Lock()
		cut := m.cuts > 0 && n > 0
		if cut {
			m.cuts--
		}
		m.mu.Unlock()
		if cut {
			return offset, host.JobState{}, errors.New("connection lost")
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return offset, host.JobState{}, ctx.Err()
		}
	}
}

func (m *machine) Forward(context.Context, string, func(context.Context) (net.Conn, error)) (*host.Forward, error) {
	return nil, errors.ErrUnsupported
}

func (m *machine) Close() error { return nil }

func (m *machine) target() Target {
	return Target{
		Dir: m.dir, Project: "erp", Sites: []string{"erp.example.com"}, HTTPPort: 8080,
		ComposeFiles: []string{"compose/compose-main.yaml"},
		Secrets:      map[string]secret.Secret{"DB_ROOT_PASSWORD": secret.New("root's"), "ADMIN_PASSWORD": secret.New("admin"), "OTHER": secret.New("not for the host")},
		Owner:        "ann@laptop",
	}
}

func lockOf(version string) release.Lock {
	return release.Lock{SiteVersion: version, Python: "3.11.6", Node: "18.18.2", Apps: []release.App{
		{Name: "frappe", Commit: strings.Repeat("a", 40), Version: "15.17.3"},
		{Name: "erpnext", Commit: strings.Repeat("b", 39) + version[len(version)-1:], Version: "15.17.0"},
	}}
}

var testImage = release.Image{Repository: "registry.example/desired/erp", Digest: "sha256:" + strings.Repeat("1", 64)}

// release releases a version, from a look at the host to the end.
func (m *machine) release(ctx context.Context, version string, change func(*Deployer)) (release.Record, []Event, error) {
	m.t.Helper()
	state, err := Inspect(ctx, m, m.target())
	if err != nil {
		m.t.Fatal(err)
	}
	plan, report := MakePlan(ctx, state, m.target(), lockOf(version))
	if len(report) > 0 {
		m.t.Fatal(report.Err())
	}
	image := testImage
	image.Tag = version
	return m.carryOut(ctx, plan, image, change)
}

// carryOut carries a plan out and gives what was told of it.
func (m *machine) carryOut(ctx context.Context, plan Plan, image release.Image, change func(*Deployer)) (release.Record, []Event, error) {
	var events []Event
	d := Deployer{
		Dial:    func(context.Context) (Host, error) { return m, nil },
		Observe: func(e Event) { events = append(events, e) },
	}
	if change != nil {
		change(&d)
	}
	record, err := d.Run(ctx, plan, image)
	return record, events, err
}

func short(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes")
	}
}

func (m *machine) current() string {
	link, _ := os.Readlink(filepath.Join(m.dir, "current"))
	return link
}

func (m *machine) mustRelease(version string) release.Record {
	m.t.Helper()
	record, _, err := m.release(m.t.Context(), version, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return record
}

func stepNames(r release.Record) string {
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func TestRelease(t *testing.T) {
	short(t)
	m := newMachine(t)
	first := m.mustRelease("1.0.0")
	if got, want := stepNames(first), "stage pull check up maintenance backup migrate verify open workers settle record"; got != want {
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
HTTP_PORT='8080'
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
	if got, want := stepNames(second), "stage pull check compare watch bridge drain maintenance quiesce backup down up migrate verify open workers settle record"; got != want {
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

	history, err := History(t.Context(), m, m.target())
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
			texts: []string{"site: held in maintenance mode", "pipeline unlock --undo", "runner undo", "what failed while putting everything back: migrate", "the backups of the sites: "},
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
			_, events, err := m.release(t.Context(), "1.0.1", nil)
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
			if history, err := History(t.Context(), m, m.target()); err != nil || len(history) != 2 {
				t.Errorf("history: %v, %v", err, history)
			}
		})
	}
}

func TestConnectionLost(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.cuts = 2
	record, events, err := m.release(t.Context(), "1.0.0", nil)
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

func TestInterrupt(t *testing.T) {
	short(t)
	const waits = `while [ ! -e "$DOCKER_STATE/go" ]; do sleep 0.05; done`
	interrupted := func(m *machine, step string) func(*Deployer) {
		return func(d *Deployer) {
			interrupt := make(chan struct{})
			observe := d.Observe
			d.Interrupt = interrupt
			d.Observe = func(e Event) {
				observe(e)
				if e.Kind == StepBegan && e.Step == step {
					close(interrupt)
				}
				if e.Kind == CarryingOn {
					m.write("go", "", 0o600)
				}
			}
		}
	}
	t.Run("before the critical part", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "pull --quiet registry.example", waits)
		_, _, err := m.release(t.Context(), "1.0.1", interrupted(m, "pull"))
		if !errors.Is(err, ErrInterrupted) {
			t.Errorf("got %v", err)
		}
		state, err := Inspect(t.Context(), m, m.target())
		if err != nil || state.Lock != nil || state.Current.Version != "1.0.0" || slices.Contains(state.Releases, "1.0.1") {
			t.Errorf("left behind: %v, %+v", err, state)
		}
	})
	t.Run("in the critical part", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "/releases/1.0.1/.env up ", waits)
		record, events, err := m.release(t.Context(), "1.0.1", interrupted(m, "up"))
		if err != nil || record.Version != "1.0.1" {
			t.Errorf("got %v", err)
		}
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == CarryingOn }) {
			t.Error("nobody said that it carries on")
		}
	})
	t.Run("watching ends in the critical part", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.when("wait", "/releases/1.0.1/.env up ", waits)
		ctx, cancel := context.WithCancel(t.Context())
		_, _, err := m.release(ctx, "1.0.1", func(d *Deployer) {
			d.Observe = func(e Event) {
				if e.Kind == StepBegan && e.Step == "up" {
					cancel()
				}
			}
		})
		var failed *FailedError
		if !errors.As(err, &failed) || failed.State != NeedsPerson || !strings.Contains(err.Error(), "the host carries on by itself") {
			t.Fatalf("got %v", err)
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
