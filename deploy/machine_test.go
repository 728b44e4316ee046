//go:build unix

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// machine is this machine as a deploy host: real shells run real scripts on
// real files. Only the docker command is a script of the test's, which notes
// what it is called with, and fails where the test says so: with a real engine
// the steps run in the end-to-end tests.
type machine struct {
	t    *testing.T
	dir  string
	path string

	mu   sync.Mutex
	cuts int // how many times following is cut off
}

const dockerStandIn = `#!/bin/sh
# A long call takes several writes, and some calls are made side by side. To start a
# program takes longer than everything else here.
all=$*
if [ ${#all} -lt 1000 ]; then
	printf '%s\n' "$all" >>"$DOCKER_STATE/calls"
else
	(
		flock 9
		printf '%s\n' "$all" >>"$DOCKER_STATE/calls"
	) 9>>"$DOCKER_STATE/calls.lock"
fi
for rule in "$DOCKER_STATE"/rules/*; do
	[ -f "$rule.do" ] || continue
	IFS= read -r text <"$rule" || :
	case "$all" in *"$text"*)
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
esac
# A verb of site.py, with what it is about.
verb='' program=
for one; do
	if [ "$program" ]; then
		verb="$verb $one"
	else
		case $one in *"run(sys.argv[1:])") program=yes ;; esac
	fi
done
case $verb in
" tables erp.example.com") echo 1 ;;
" bench_sites"*) echo erp.example.com ;;
" fit erp.example.com -- size  erp.example.com -- serving erp.example.com") printf '1000 1000\nerp.example.com\n' ;;
" maintenance get erp.example.com") echo '{"erp.example.com": null}' ;;
" serving erp.example.com") echo erp.example.com ;;
" jobs_left") echo 0 ;;
" dump erp.example.com") printf '%s' "$DUMP" | gzip ;;
" load erp.example.com 1") gzip --decompress >"$DOCKER_STATE/loaded" ;;
esac
exit 0
`

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, dir: filepath.Join(quickDir(t), "srv"), path: quickDir(t)}
	if err := os.MkdirAll(filepath.Join(m.path, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.write("docker", dockerStandIn, 0o755)
	m.write("started", "once\n", 0o644)
	// Neither the crontab nor the systemd of the user who runs the tests is touched.
	m.write("crontab.txt", "", 0o600)
	m.write("systemctl", "#!/bin/sh\nexit 1\n", 0o755)
	m.write("loginctl", "#!/bin/sh\nexit 1\n", 0o755)
	m.write("crontab", "#!/bin/sh\n[ \"$1\" = - ] && exec cat >\"$DOCKER_STATE/crontab.txt\"\nexec cat \"$DOCKER_STATE/crontab.txt\"\n", 0o755)
	return m
}

// quickDir is a folder in memory, where there is room for it: what a step has written is
// flushed when it has ended, which takes a disk longer than all the rest.
func quickDir(t *testing.T) string {
	t.Helper()
	const memory, room = "/dev/shm", 1 << 30
	var there syscall.Statfs_t
	if err := syscall.Statfs(memory, &there); err != nil || there.Bavail*uint64(there.Bsize) < room {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "pipeline-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
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
	if _, err := os.Stat(dir); err == nil {
		return host.ErrExists
	}
	part := dir + ".part"
	for _, f := range files {
		name := filepath.Join(part, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Data, f.Mode); err != nil {
			return err
		}
	}
	return os.Rename(part, dir)
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
		Dir: m.dir, Project: "erp", Sites: []string{"erp.example.com"}, HTTPPort: 48080,
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
func (m *machine) release(ctx context.Context, version string, change ...func(*Deployer)) (release.Record, []Event, error) {
	m.t.Helper()
	return m.releaseBy(ctx, "", version, change...)
}

// releaseBy is release by a strategy.
func (m *machine) releaseBy(ctx context.Context, strategy, version string, change ...func(*Deployer)) (release.Record, []Event, error) {
	m.t.Helper()
	target := m.target()
	target.Strategy = strategy
	image := testImage
	image.Tag = version
	return m.carryOut(ctx, m.plan(ctx, target, version), image, change...)
}

// plan plans a release of a version.
func (m *machine) plan(ctx context.Context, target Target, version string) Plan {
	m.t.Helper()
	state, err := Inspect(ctx, m, target)
	if err != nil {
		m.t.Fatal(err)
	}
	plan, report := MakePlan(ctx, state, target, lockOf(version))
	if len(report) > 0 {
		m.t.Fatal(report.Err())
	}
	return plan
}

// failsToMigrate releases 1.0.1 by a strategy with a patch that fails, and holds that
// the release is put back.
func (m *machine) failsToMigrate(strategy string) {
	m.t.Helper()
	m.when("patch", "--site erp.example.com migrate", "exit 1")
	target := m.target()
	target.Strategy, target.Migrate = strategy, true
	_, _, err := m.carryOut(m.t.Context(), m.plan(m.t.Context(), target, "1.0.1"), testImage)
	var failed *FailedError
	if !errors.As(err, &failed) || failed.State != RolledBack || failed.Step != "migrate" {
		m.t.Fatal(err)
	}
}

// carryOut carries a plan out and returns what was told of it.
func (m *machine) carryOut(ctx context.Context, plan Plan, image release.Image, change ...func(*Deployer)) (release.Record, []Event, error) {
	var events []Event
	d := Deployer{
		Dial:    func(context.Context) (Host, error) { return m, nil },
		Observe: func(e Event) { events = append(events, e) },
	}
	for _, one := range change {
		one(&d)
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
	record, _, err := m.release(m.t.Context(), version)
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

// freePort is a port of this machine that nothing listens on.
func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}
