package localengine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// options has a cache folder of the test's own, so that the engine is not one
// that others use, with the tools of the shared cache.
func options(t *testing.T) Options {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs an engine")
	}
	common, err := DefaultCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	tools := filepath.Join(common, "tools")
	if err := os.MkdirAll(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(tools, filepath.Join(dir, "tools")); err != nil {
		t.Fatal(err)
	}
	return Options{CacheDir: dir, Log: zerolog.New(zerolog.NewTestWriter(t))}
}

// startEngine starts an engine, or skips where that can't be done.
func startEngine(t *testing.T, options Options) *Engine {
	t.Helper()
	e, err := Start(t.Context(), options)
	debiantest.Require(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the engine's log:\n%s", lastLinesOf(e.LogFile(), 40))
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// serve runs a container in the engine, a service, and asks it for an answer. It
// needs no image: the mirror's command is all there is in the container. The
// service runs until the returned client is closed.
func serve(t *testing.T, e *Engine) *dagger.Client {
	t.Helper()
	var progress bytes.Buffer
	client, err := e.Endpoint().Connect(t.Context(), &progress)
	if err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	service := client.Container().
		WithFile("/mirror", client.Host().File(e.commands.mirror)).
		WithExposedPort(5000).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"/mirror", "-listen", "0.0.0.0:5000", "-content", "/content"}})
	tunnel, err := client.Host().Tunnel(service).Start(ctx)
	if err != nil {
		t.Fatalf("start service: %v\n%s", err, &progress)
	}
	address, err := tunnel.Endpoint(ctx)
	if err != nil {
		t.Fatalf("start service: %v\n%s", err, &progress)
	}
	if _, err := crane.Catalog(address, crane.WithContext(ctx)); err != nil {
		t.Fatalf("ask service: %v", err)
	}
	return client
}

// ask lets the engine serve once.
func ask(t *testing.T, e *Engine) {
	t.Helper()
	if err := serve(t, e).Close(); err != nil {
		t.Error(err)
	}
}

// leftovers lists what the engine has on the machine outside its cache folder.
func leftovers(t *testing.T, e *Engine) []string {
	t.Helper()
	var found []string
	for name, command := range map[string]string{
		"interface": "ip -oneline link",
		"rule":      "iptables-save",
		"mount":     "cat /proc/self/mountinfo",
		"process":   "ps -e -o args",
		"lease":     "ls -d /var/lib/cni/*/* 2>/dev/null || true",
		"cgroup":    "find /sys/fs/cgroup -maxdepth 2 -type d",
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", command).Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		for line := range strings.Lines(string(out)) {
			for _, mark := range []string{e.dir, e.state.Network, strings.TrimSuffix(e.state.CIDR, ".0.0/16") + "."} {
				if strings.Contains(line, mark) {
					found = append(found, name+": "+strings.TrimSpace(line))
					break
				}
			}
		}
	}
	return found
}

// untouched reads files of the machine that an engine would change if it ran
// without a mount namespace of its own.
func untouched(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c",
		"cat /etc/resolv.conf /etc/hosts; ls /etc /usr/local/bin /usr/local/share/ca-certificates /run /opt").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEngineLeavesTheMachineClean(t *testing.T) {
	o := options(t)
	before := untouched(t)
	e := startEngine(t, o)
	client := serve(t, e)
	found := strings.Join(leftovers(t, e), "\n")
	for _, kind := range []string{"interface: ", "rule: ", "process: ", "lease: ", "cgroup: "} {
		if !strings.Contains(found, kind) {
			t.Errorf("the check for leftovers sees no %sof a running engine:\n%s", kind, found)
		}
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if during := untouched(t); during != before {
		t.Errorf("while the engine runs, the machine's files are\n%s\nand were\n%s", during, before)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, leftover := range leftovers(t, e) {
		t.Errorf("left behind: %s", leftover)
	}
	if after := untouched(t); after != before {
		t.Errorf("the machine's files are\n%s\nand were\n%s", after, before)
	}
	if _, err := os.Stat(e.socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A user that crashes does not call Close: the kernel ends its lock.
func TestEngineEndsWithItsLastUser(t *testing.T) {
	e := startEngine(t, options(t))
	e.users.release()
	deadline := time.Now().Add(stopTimeout)
	for {
		runs, err := e.runs()
		if err != nil {
			t.Fatal(err)
		}
		if !runs {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without users, the engine still runs after %s", stopTimeout)
		}
		time.Sleep(lockPoll)
	}
	for _, leftover := range leftovers(t, e) {
		t.Errorf("left behind: %s", leftover)
	}
}

func TestEngineIsShared(t *testing.T) {
	o := options(t)
	first, second := startEngine(t, o), startEngine(t, o)
	if first.state != second.state {
		t.Errorf("the second user got %+v, the first %+v", second.state, first.state)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	ask(t, second)
}

func TestEngineOutlivesAKill(t *testing.T) {
	o := options(t)
	killed := startEngine(t, o)
	serve(t, killed) // and its container is killed with it
	supervisor, err := exec.CommandContext(t.Context(), "pgrep", "--full", "--exact", "--", killed.commands.supervisor+" -root "+killed.dir+" .*").Output()
	if err != nil {
		t.Fatalf("find supervisor: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(supervisor)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	next := startEngine(t, o)
	ask(t, next)
	if next.Mirror() != killed.Mirror() {
		t.Errorf("the mirror moved from %s to %s", killed.Mirror(), next.Mirror())
	}
	if err := errors.Join(killed.Close(), next.Close()); err != nil {
		t.Fatal(err)
	}
	for _, leftover := range leftovers(t, next) {
		t.Errorf("left behind: %s", leftover)
	}
}

func TestMirrorKeepsWhatIsPushed(t *testing.T) {
	o := options(t)
	e := startEngine(t, o)
	img, err := random.Image(1024, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := crane.Push(img, e.Mirror()+"/library/pushed:1", crane.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = startEngine(t, o)
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	client, err := e.Endpoint().Connect(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// By the short name the engine means docker.io, and asks the mirror.
	ref, err := client.Container().From("pushed:1").ImageRef(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(ref, "/library/pushed:1@"+want.String()) {
		t.Errorf("image is %s, want the one pushed, %s", ref, want)
	}
}

func TestEngineEnvironment(t *testing.T) {
	got := engineEnvironment([]string{"DE_GITHUB_TOKEN=secret", "https_proxy=http://proxy:3128", "SSL_CERT_FILE=/ca.pem", "PATH=/elsewhere"})
	for _, want := range []string{"https_proxy=http://proxy:3128", "SSL_CERT_FILE=/ca.pem"} {
		if !slices.Contains(got, want) {
			t.Errorf("engine misses %s: %v", want, got)
		}
	}
	for _, not := range []string{"DE_GITHUB_TOKEN=secret", "PATH=/elsewhere"} {
		if slices.Contains(got, not) {
			t.Errorf("engine gets %s", not)
		}
	}
}
