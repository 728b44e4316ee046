//go:build unix

package deploy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// The worker of a container, with RQ's own code. Its host name is the
// container's short id, as Docker gives it.
const workerProgram = `import socket, sys
socket.gethostname = lambda: sys.argv[1][:12]
import json, redis
from rq import Queue, Worker
server = redis.from_url(json.load(open("sites/common_site_config.json"))["redis_queue"])
Worker([Queue(name, connection=server) for name in ("bench:long", "bench:short")], connection=server).work()
`

// A job says that it began, waits for a file, and says that it ended.
const jobModule = `import os, time
def wait(name):
    with open("said", "a") as said: print("began", name, file=said, flush=True)
    while not os.path.exists("go-" + name): time.sleep(0.02)
    with open("said", "a") as said: print("ended", name, file=said, flush=True)
`

// workersHost has workers in containers that are processes, and a queue in a
// real Redis; the steps' scripts run as they are.
type workersHost struct {
	t          *testing.T
	state, run string
	port       string
}

func newWorkersHost(t *testing.T, limit int) *workersHost {
	t.Helper()
	debiantest.Install(t, "redis-server", "python3-rq", "python3-redis")
	port := freePort(t)
	h := &workersHost{t: t, state: t.TempDir(), port: port}
	redis := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", h.state)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.docker("kill", "worker-long00", "worker-short0", "scheduler000")
		_ = redis.Process.Kill()
		_ = redis.Wait()
	})

	dir := filepath.Join(h.state, "srv")
	h.run = filepath.Join(dir, "runs", "1")
	docker, err := os.ReadFile("testdata/docker-of-workers.py")
	if err != nil {
		t.Fatal(err)
	}
	spec := runSpec{layout: layout{dir}, kind: Release, version: "1.0.1", previous: "1.0.0", project: "erp", drainLimit: limit}
	files := map[string]string{
		"bin/docker": string(docker), "worker.py": workerProgram, "jobs.py": jobModule,
		"sites/common_site_config.json":    fmt.Sprintf(`{"redis_queue": "redis://127.0.0.1:%s/1"}`, port),
		"srv/releases/1.0.0/services":      "worker queue-long\nworker queue-short\nscheduler scheduler\nweb backend\n",
		"containers/worker-long00/service": "queue-long",
		"containers/worker-short0/service": "queue-short",
		"containers/scheduler000/service":  "scheduler",
		"containers/backend00000/service":  "backend",
		"srv/runs/1/settings":              spec.settings(),
		"srv/runs/1/migration":             "needed\n",
		"srv/runs/1/end_workers":           "#!/bin/sh\n. ./lib.sh\nend_workers \"$previous\"\n",
		"srv/runs/1/remove":                "#!/bin/sh\n. ./lib.sh\nremove \"$previous\" worker\n",
		"srv/runs/1/drain.do":              stepScript("x", stepFile("drain.do")),
		"srv/runs/1/drain.undo":            stepScript("x", stepFile("drain.undo")),
		"srv/releases/1.0.0/compose-files": "compose.yaml\n",
		"srv/releases/1.0.0/compose.yaml":  "",
	}
	for _, name := range sharedFiles() {
		files["srv/runs/1/"+name] = stepFile(name)
	}
	for name, text := range files {
		path := filepath.Join(h.state, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.eventually("Redis answers", func() bool { out, err := h.python("server.ping()"); return err == nil && out == "" })
	h.docker("start", "worker-long00", "worker-short0", "scheduler000")
	h.eventually("both workers are at their queue", func() bool {
		out, _ := h.python(`print(server.scard("rq:workers"))`)
		return out == "2"
	})
	return h
}

func (h *workersHost) env() []string {
	return append(os.Environ(), "DOCKER_STATE="+h.state, "DIR="+filepath.Join(h.state, "srv"), "PATH="+filepath.Join(h.state, "bin")+":"+os.Getenv("PATH"), "PYTHONPATH="+h.state)
}

func (h *workersHost) docker(arguments ...string) {
	cmd := exec.Command(filepath.Join(h.state, "bin/docker"), arguments...)
	cmd.Env = h.env()
	_ = cmd.Run()
}

// python runs a line of Python that knows the queue's server.
func (h *workersHost) python(line string) (string, error) {
	cmd := exec.Command("/usr/bin/python3", "-c", fmt.Sprintf("import redis; server = redis.from_url('redis://127.0.0.1:%s/1', decode_responses=True)\n%s", h.port, line))
	cmd.Env, cmd.Dir = h.env(), h.state
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func (h *workersHost) must(line string) string {
	h.t.Helper()
	out, err := h.python(line)
	if err != nil {
		h.t.Fatalf("%s: %v", line, err)
	}
	return out
}

// begin has workers begin jobs, and queues others behind them.
func (h *workersHost) begin(jobs ...string) {
	h.t.Helper()
	for _, job := range jobs {
		h.must(fmt.Sprintf("import rq; rq.Queue('bench:long', connection=redis.from_url('redis://127.0.0.1:%s/1')).enqueue('jobs.wait', kwargs={'name': %q}, job_id=%q, timeout=600)", h.port, job, job))
		h.eventually(job+" began or waits", func() bool {
			return strings.Contains(h.said(), "began "+job) || strings.Contains(h.said(), "began b") && strings.Contains(h.waiting(), job)
		})
	}
}

func (h *workersHost) waiting() string {
	return h.must(`print(*server.lrange("rq:queue:bench:long", 0, -1))`)
}
func (h *workersHost) underWay() string {
	return h.must(`print(*server.zrange("rq:wip:bench:long", 0, -1))`)
}

func (h *workersHost) said() string {
	text, _ := os.ReadFile(filepath.Join(h.state, "said"))
	return strings.Join(strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), ", ")
}

// let lets a job come to its end.
func (h *workersHost) let(job string) {
	if err := os.WriteFile(filepath.Join(h.state, "go-"+job), nil, 0o600); err != nil {
		h.t.Error(err)
	}
}

func (h *workersHost) command(script string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("sh", script)
	var said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = h.run, h.env(), &said, &said
	return cmd, &said
}

func (h *workersHost) running(container string) bool {
	cmd := exec.Command(filepath.Join(h.state, "bin/docker"), "inspect", "--format", "{{.State.Running}} {{.ID}}", container)
	cmd.Env = h.env()
	out, _ := cmd.Output()
	return strings.HasPrefix(string(out), "true")
}

func (h *workersHost) eventually(what string, check func() bool) {
	h.t.Helper()
	for end := time.Now().Add(30 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(h.state, "log"))
			h.t.Fatalf("waited in vain: %s; said %q\n%s", what, h.said(), log)
		}
	}
}

// told reports whether the worker of a job was told to end.
func (h *workersHost) told() bool {
	return h.must(`print(any(server.hget(key, "shutdown_requested_date") for key in server.smembers("rq:workers")))`) == "True"
}

func TestJobsEndInTime(t *testing.T) {
	h := newWorkersHost(t, 20)
	h.begin("a")
	cmd, said := h.command("end_workers")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.eventually("the worker is told", h.told)
	// Longer than RQ takes a second signal for the first one.
	time.Sleep(1200 * time.Millisecond)
	h.let("a")
	if err := cmd.Wait(); err != nil || strings.Contains(said.String(), "note:") {
		t.Errorf("%v: %s", err, said)
	}
	if h.said() != "began a, ended a" || h.waiting() != "" || h.running("worker-long00") || h.running("worker-short0") {
		t.Errorf("jobs said %q, %q waits", h.said(), h.waiting())
	}
}

func TestJobsArePutBack(t *testing.T) {
	h := newWorkersHost(t, 2)
	h.begin("a", "b", "c")
	if got := h.waiting(); got != "c" {
		t.Fatalf("%q waits", got)
	}
	// Cut off after the workers were ended, as by a restart of the host.
	fail := filepath.Join(h.state, "fail-put_jobs_back")
	if err := os.WriteFile(fail, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, said := h.command("remove")
	if err := cmd.Run(); err == nil {
		t.Fatalf("the queue could not be written, and yet: %s", said)
	}
	if h.running("worker-long00") || h.running("worker-short0") {
		t.Error("a worker still runs")
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	// A job that another one put back meanwhile is left where it is.
	for range 2 {
		if cmd, said = h.command("remove"); cmd.Run() != nil {
			t.Fatalf("failed: %s", said)
		}
		if strings.Count(said.String(), "note: job ") == 0 {
			break
		}
		for _, job := range []string{"a", "b"} {
			if want := "note: job " + job + " of the queue bench:long (jobs.wait) did not end in 2 s"; strings.Count(said.String(), want) != 1 {
				t.Errorf("not said once, %q:\n%s", want, said)
			}
		}
	}
	waiting := strings.Fields(h.waiting())
	if len(waiting) != 3 || waiting[2] != "c" || h.underWay() != "" {
		t.Fatalf("waiting %q, under way %q: both are to be at the front, once", waiting, h.underWay())
	}
	for _, job := range []string{"a", "b", "c"} {
		h.let(job)
		if got := h.must(fmt.Sprintf(`print(server.hget("rq:job:%s", "status"))`, job)); got != "queued" {
			t.Errorf("job %s is %s", job, got)
		}
	}
	// New workers do them all.
	for _, one := range []string{"worker-long00", "worker-short0"} {
		if err := os.Rename(filepath.Join(h.state, "removed-"+one), filepath.Join(h.state, "containers", one)); err != nil {
			t.Fatal(err)
		}
	}
	h.docker("start", "worker-long00", "worker-short0")
	h.eventually("all jobs ended", func() bool { return strings.Count(h.said(), "ended") == 3 })
	if got := h.said(); strings.Count(got, "began a") != 2 || strings.Count(got, "ended a") != 1 || strings.Count(got, "began c") != 1 {
		t.Errorf("jobs said %q", got)
	}
}

// TestDrainUndone: workers that end just then are waited for and run again, and
// what they were at is done once.
func TestDrainUndone(t *testing.T) {
	h := newWorkersHost(t, 20)
	// A job comes between the look at the queue and the end of the workers.
	if err := os.WriteFile(filepath.Join(h.run, "late"), []byte("#!/bin/sh\n. ./lib.sh\ntouch drained workers-told\nawait_workers_end \"$previous\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.begin("a")
	cmd, _ := h.command("late")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.eventually("the worker is told", h.told)
	// As the runner does at Ctrl-C: the step with all below it.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
	time.Sleep(1200 * time.Millisecond)
	undo, said := h.command("drain.undo")
	if err := undo.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if got := h.said(); got != "began a" {
		t.Errorf("while it is waited for, jobs said %q", got)
	}
	h.let("a")
	if err := undo.Wait(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, one := range []string{"worker-long00", "worker-short0", "scheduler000"} {
		if !h.running(one) {
			t.Errorf("%s does not run", one)
		}
	}
	h.let("b")
	h.begin("b")
	h.eventually("a job is done again", func() bool { return strings.Contains(h.said(), "ended b") })
	if got := h.said(); strings.Count(got, "began a") != 1 || strings.Count(got, "ended a") != 1 {
		t.Errorf("jobs said %q", got)
	}
}

// TestDrainUndoneBeforeWorkersAreTold: a job under way goes on.
func TestDrainUndoneBeforeWorkersAreTold(t *testing.T) {
	h := newWorkersHost(t, 1)
	h.begin("a")
	do, said := h.command("drain.do")
	if err := do.Run(); err == nil || !strings.Contains(said.String(), "jobs have not ended in 1 s") {
		t.Fatalf("%v: %s", err, said)
	}
	if undo, said := h.command("drain.undo"); undo.Run() != nil {
		t.Fatalf("failed: %s", said)
	}
	if h.told() || !h.running("worker-long00") || !h.running("scheduler000") {
		t.Error("a worker was told to end, or does not run")
	}
	h.let("a")
	h.eventually("the job ended", func() bool { return h.said() == "began a, ended a" })
}
