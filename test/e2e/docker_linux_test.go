package e2e

import (
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// engineEntrypoint starts the engine as the public image does. The controllers of the
// container's control group are handed down, for which no process may be in it.
const engineEntrypoint = `#!/bin/sh -eu
groups=/sys/fs/cgroup
if [ -e $groups/cgroup.controllers ]; then
	mkdir -p $groups/init
	for pid in $(cat $groups/cgroup.procs); do echo "$pid" >$groups/init/cgroup.procs || :; done
	for one in $(cat $groups/cgroup.controllers); do echo "+$one" >$groups/cgroup.subtree_control || :; done
fi
exec engine "$@"
`

// An ordinary user of a machine with Docker has the sandbox, and nothing is built
// from source or installed for it. TEST_DOCKER=demo runs the whole demo there.
func TestDemoInDocker(t *testing.T) {
	t.Parallel() // beside TestRelease, which waits more than it works
	if testing.Short() {
		t.Skip("needs an engine and Docker")
	}
	debiantest.Install(t, "docker.io", "iproute2", "git")
	u := withTurn(t)
	defer u.turn.done()
	u.world = newWorld(t, sandbox.Options{NoHost: true, Log: enginetest.Log(t)})
	d := startDocker(t)
	_, id, found := strings.Cut(d.run("docker", "load", "--input", u.engineImage(d.home)), "Loaded image ID: ")
	if !found {
		t.Fatal("docker load names no image")
	}
	d.run("docker", "tag", strings.TrimSpace(id), localengine.Image)

	// The compose plugin is from an earlier day, as it takes minutes to build.
	plugin, err := localengine.ComposePlugin(t.Context(), enginetest.CacheDir(t), enginetest.Log(t))
	if err != nil {
		t.Fatal(err)
	}
	d.bring(plugin, ".cache/erpnext-pipeline/tools/"+filepath.Base(filepath.Dir(plugin))+"/docker-compose")
	d.bring(u.world.Engine.Endpoint().CLI, "dagger")
	d.bring(u.compile(), "pipeline")
	d.write(".env", "IMAGE_MIRROR="+d.forward(u.world.Engine.Mirror())+"\nDAGGER_CLI_BIN="+d.home+"/dagger\n")

	if os.Getenv("TEST_DOCKER") == "demo" {
		if out := d.run("./pipeline", "demo", "--exit", "--port", "8095"); !strings.Contains(out, "The site runs at") {
			t.Errorf("the demo has no site:\n%s", out)
		}
	} else {
		t.Log(d.run("sh", "-euc", `./pipeline sandbox --port 8095 >out 2>&1 &
until [ -s .env.sandbox ]; do kill -0 $! || { cat out; exit 1; }; sleep 1; done
./pipeline check --env-file .env.sandbox || { kill -INT $!; wait $! || :; cat out; exit 1; }
kill -INT $!
wait $!
cat out`))
	}
	if left := d.run("docker", "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers are left: %s", d.run("docker", "ps", "--all"))
	}
}

// runcHere is runc, for a machine that lacks a capability itself, as virtual ones do:
// Docker asks for all that the kernel knows.
const runcHere = `#!/bin/sh -eu
previous=
for one; do
	case $previous in
		--bundle) sed -i 's/"CAP_SYS_RESOURCE",//g' "$one/config.json" ;;
		--process) sed -i 's/"CAP_SYS_RESOURCE",//g' "$one" ;;
	esac
	previous=$one
done
exec runc "$@"
`

// dockerUser is an ordinary user of this machine, who may use a Docker of the test's.
type dockerUser struct {
	t                     *testing.T
	home, socket, gateway string
}

// nobody is the user in Debian who owns nothing.
const nobody = 65534

// startDocker starts a Docker until the test ends.
func startDocker(t *testing.T) *dockerUser {
	t.Helper()
	dir := t.TempDir()
	// Every folder above it is the test's own.
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := &dockerUser{t: t, home: filepath.Join(dir, "home"), socket: filepath.Join(dir, "docker.sock"), gateway: "10.62.7.1"}
	if err := errors.Join(os.Mkdir(d.home, 0o755), os.Chown(d.home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	const bridge = "sbxdocker0"
	_ = exec.CommandContext(t.Context(), "ip", "link", "delete", bridge).Run() // of a test that was killed
	for _, args := range [][]string{{"link", "add", bridge, "type", "bridge"}, {"address", "add", d.gateway + "/24", "dev", bridge}, {"link", "set", bridge, "up"}} {
		if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "runtime"), []byte(runcHere), 0o755); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("dockerd", "--host", "unix://"+d.socket, "--bridge", bridge, "--pidfile", filepath.Join(dir, "pid"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--add-runtime", "here="+filepath.Join(dir, "runtime"), "--default-runtime", "here")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		_ = exec.Command("ip", "link", "delete", bridge).Run()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("Docker's log ends:\n%s", text[max(0, len(text)-3000):])
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if err := os.Chmod(d.socket, 0o666); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return d
}

// run runs a command as the user, in the home folder, and returns all that it prints.
func (d *dockerUser) run(argv ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), argv[0], argv[1:]...)
	cmd.Dir = d.home
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + d.home, "DOCKER_HOST=unix://" + d.socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", strings.Join(argv[:min(2, len(argv))], " "), err, out)
	}
	return string(out)
}

// write writes a file that the user owns, by its path below the home folder.
func (d *dockerUser) write(name, text string) {
	d.t.Helper()
	// As the user, so that the folders are the user's too.
	d.run("sh", "-euc", `mkdir -p "$(dirname "$1")"; printf %s "$2" >"$1"`, "-", name, text)
}

// bring copies a program for the user.
func (d *dockerUser) bring(file, name string) {
	d.t.Helper()
	d.write(name, "")
	content, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	to := filepath.Join(d.home, name)
	if err := errors.Join(os.WriteFile(to, content, 0o755), os.Chmod(to, 0o755)); err != nil {
		d.t.Fatal(err)
	}
}

// forward makes a server on this machine's loopback reachable for containers, and
// returns its address for them.
func (d *dockerUser) forward(address string) string {
	d.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(d.t.Context(), "tcp", d.gateway+":0")
	if err != nil {
		d.t.Fatal(err)
	}
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address}), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	d.t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// compile returns the program, for a machine like this one.
func (u *user) compile() string {
	u.t.Helper()
	program := filepath.Join(u.t.TempDir(), "pipeline")
	cmd := exec.CommandContext(u.t.Context(), "go", "build", "-o", program, "../../cmd/pipeline")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// engineImage returns a file in a folder with an engine's image, which has what the public one
// has where Dagger's command and the engine look for it.
func (u *user) engineImage(dir string) string {
	u.t.Helper()
	client := u.world.Client
	executable := dagger.ContainerWithNewFileOpts{Permissions: 0o755}
	programs := client.Host().Directory(filepath.Dir(u.world.Engine.Endpoint().CLI))
	file := filepath.Join(dir, "engine.tar")
	_, err := client.Container().From("debian:bookworm-slim").
		WithExec([]string{"sh", "-euc", `apt-get update -qq
apt-get install -qq --yes --no-install-recommends runc iptables containernetworking-plugins dnsmasq-base git iproute2 ca-certificates socat
mkdir -p /run/sandbox-engine /opt/cni/bin /usr/local/share/ca-certificates
ln -s /usr/sbin/runc /run/sandbox-engine/runc
ln -s /usr/lib/cni/* /opt/cni/bin/`}).
		WithFile("/usr/local/bin/engine", programs.File("engine")).
		WithFile("/run/sandbox-engine/dagger-init", programs.File("dagger-init")).
		WithFile("/opt/cni/bin/dnsname", programs.File("dnsname")).
		WithNewFile("/usr/local/bin/buildctl", "#!/bin/sh\nexec socat - UNIX-CONNECT:/run/dagger/engine.sock\n", executable).
		WithNewFile("/usr/local/bin/entrypoint", engineEntrypoint, executable).
		WithNewFile("/etc/dagger/engine.toml", "").
		WithEntrypoint([]string{"/usr/local/bin/entrypoint"}).
		Export(u.t.Context(), file)
	if err = errors.Join(err, os.Chmod(file, 0o644)); err != nil {
		u.t.Fatal(err)
	}
	return file
}
