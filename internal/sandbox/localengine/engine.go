// Package localengine runs a Dagger engine on a bare Debian machine: no Docker, no
// public image, only Go modules and Debian packages.
//
// The engine and a registry that answers for docker.io run under a supervisor,
// apart from the process that started them. Every process that uses the same
// cache folder shares them, and the supervisor ends when the last one is gone,
// crashed ones included: it waits for a lock that all users hold. Three locks
// in the engine's folder make that work:
//
//	users.lock    shared by all users; the supervisor takes it to end
//	running.lock  held by the supervisor until everything is gone
//	start.lock    held while somebody decides whether to start
//
// What stays is the cache: the tools, the engine's state, the registry's
// content and the last log.
package localengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian"
)

// packages are what the engine runs besides its own commands.
var packages = []string{"runc", "iptables", "containernetworking-plugins", "dnsmasq-base", "git", "iproute2", "ca-certificates"}

const (
	// startTimeout is for the engine to answer, from its start. A large
	// cache makes it slow.
	startTimeout = 2 * time.Minute
	// stopTimeout is for everything to be gone. The supervisor kills what
	// does not end by itself well before.
	stopTimeout = time.Minute
)

// Options say where and how to run the engine.
type Options struct {
	// CacheDir holds everything that outlives the engine. Processes that
	// name the same one share an engine.
	CacheDir string
	Log      zerolog.Logger
}

// Engine is one use of a running engine.
type Engine struct {
	dir      string
	state    state
	commands commands
	users    *fileLock
}

// state is what the starter of an engine tells the others.
type state struct {
	Endpoint engine.Endpoint `json:"endpoint"`
	Mirror   string          `json:"mirror"`
	Network  string          `json:"network"`
	CIDR     string          `json:"cidr"`
}

// DefaultCacheDir is the folder that tests and demo share on this machine, for
// this user.
func DefaultCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache: %w", err)
	}
	return filepath.Join(dir, "erpnext-pipeline"), nil
}

// Start joins the engine of the cache folder, or starts one. The error is
// debian.ErrUnsupported where that can't be done: it takes Debian and root.
func Start(ctx context.Context, options Options) (*Engine, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("start engine: %w", debian.ErrUnsupported)
	}
	if err := debian.Install(ctx, packages...); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	commands, err := buildCommands(ctx, options.CacheDir, options.Log)
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	dir, err := filepath.Abs(filepath.Join(options.CacheDir, "engine"))
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := checkSocket(dir); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "state"), filepath.Join(dir, "images")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("start engine: %w", err)
		}
	}
	// From here on a running engine stays, and one that ends is waited for.
	users, err := acquire(ctx, filepath.Join(dir, "users.lock"), shared)
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	e := &Engine{dir: dir, commands: commands, users: users}
	if err := e.joinOrStart(ctx, options.Log); err != nil {
		users.release()
		return nil, fmt.Errorf("start engine: %w", err)
	}
	return e, nil
}

// Endpoint tells how to reach the engine.
func (e *Engine) Endpoint() engine.Endpoint { return e.state.Endpoint }

// Mirror is the address, as host:port, of the registry that the engine asks
// first for images of docker.io. It speaks plain HTTP on the loopback, accepts
// pushes from everybody, and keeps its content.
func (e *Engine) Mirror() string { return e.state.Mirror }

// LogFile is the path of what the engine, the mirror and the supervisor write.
// A new start empties it.
func (e *Engine) LogFile() string { return filepath.Join(e.dir, "engine.log") }

// Close gives the engine up. If nobody else uses it, it ends, and the machine
// is clean when Close returns.
func (e *Engine) Close() error {
	e.users.release()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for {
		over, err := e.stoppedOrUsed(ctx)
		if err != nil {
			return fmt.Errorf("stop engine: %w", err)
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop engine: still running after %s; see %s", stopTimeout, e.LogFile())
		case <-time.After(lockPoll):
		}
	}
}

// stoppedOrUsed says whether there is nothing left to wait for: either nothing
// runs or somebody else uses it. The start lock keeps two that leave at the
// same time from taking each other for users.
func (e *Engine) stoppedOrUsed(ctx context.Context) (bool, error) {
	deciding, err := acquire(ctx, filepath.Join(e.dir, "start.lock"), exclusive)
	if err != nil {
		return false, err
	}
	defer deciding.release()
	if runs, err := e.runs(); err != nil || !runs {
		return !runs, err
	}
	users, err := try(filepath.Join(e.dir, "users.lock"), shared)
	if err != nil || users == nil {
		return false, err // the supervisor has it and is about to end
	}
	defer users.release()
	alone, err := users.change(exclusive)
	return !alone, err
}

// runs says whether there is a supervisor.
func (e *Engine) runs() (bool, error) {
	lock, err := try(filepath.Join(e.dir, "running.lock"), exclusive)
	if err != nil {
		return false, err
	}
	if lock == nil {
		return true, nil
	}
	lock.release()
	return false, nil
}

// joinOrStart makes sure that an engine answers.
func (e *Engine) joinOrStart(ctx context.Context, log zerolog.Logger) error {
	deciding, err := acquire(ctx, filepath.Join(e.dir, "start.lock"), exclusive)
	if err != nil {
		return err
	}
	defer deciding.release()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer within %s", startTimeout))
	defer cancel()
	previous, err := readState(e.dir)
	if err != nil {
		return err
	}
	running, err := try(filepath.Join(e.dir, "running.lock"), exclusive)
	if err != nil {
		return err
	}
	if running == nil {
		e.state = previous
		answers, err := e.await(ctx)
		if err != nil || answers {
			return err
		}
		// It ended while it was waited for.
		if running, err = acquire(ctx, filepath.Join(e.dir, "running.lock"), exclusive); err != nil {
			return err
		}
	}
	defer running.release() // the supervisor has its own hold on it by then

	started := time.Now()
	if e.state, err = e.configure(previous); err != nil {
		return err
	}
	if err := e.supervise(running); err != nil {
		return err
	}
	running.release()
	answers, err := e.await(ctx)
	if err != nil {
		return err
	}
	if !answers {
		return fmt.Errorf("the engine ended at once:\n%s", lastLinesOf(e.LogFile(), 15))
	}
	log.Debug().Str("mirror", e.state.Mirror).Str("log", e.LogFile()).
		Stringer("took", time.Since(started).Round(time.Millisecond)).Msg("engine started")
	return nil
}

// await waits until the engine answers, and says false if it ends instead.
func (e *Engine) await(ctx context.Context) (bool, error) {
	for {
		if conn, err := net.Dial("unix", e.socket()); err == nil {
			return true, conn.Close()
		}
		if runs, err := e.runs(); err != nil || !runs {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for engine: %w:\n%s", context.Cause(ctx), lastLinesOf(e.LogFile(), 15))
		case <-time.After(lockPoll):
		}
	}
}

// supervise starts the supervisor, with the lock that says "running".
func (e *Engine) supervise(running *fileLock) error {
	// A socket of one that was killed would look like an engine.
	if err := os.Remove(e.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	log, err := os.Create(e.LogFile())
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(e.commands.supervisor,
		"-root", e.dir,
		"-tools", e.commands.engineDir,
		"-mirror", e.commands.mirror,
		"-listen", strings.Replace(e.state.Mirror, "localhost", "127.0.0.1", 1),
		"-network", e.state.Network,
		"-cidr", e.state.CIDR,
	)
	cmd.Dir = "/"
	cmd.Env = engineEnvironment(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{running.file} // descriptor 3
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// An interrupt on the terminal is not for the engine: its users
		// get it, and their end is the engine's.
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // its result is in the log
	return nil
}

// engineEnvironment is what the engine gets of the environment: what it needs
// to reach the network, and none of the secrets that a pipeline's environment
// has. It outlives the process that starts it.
func engineEnvironment(environ []string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"DO_NOT_TRACK=1",
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR":
			env = append(env, variable)
		}
	}
	return env
}

// configure decides on the engine's network and the mirror's port, keeps them
// from last time where possible, and writes the configuration files.
func (e *Engine) configure(previous state) (state, error) {
	next := state{
		Endpoint: engine.Endpoint{RunnerHost: "unix://" + e.socket(), CLI: filepath.Join(e.commands.engineDir, "dagger")},
		Network:  networkName(e.dir),
	}
	var err error
	if next.Mirror, err = freeAddress(previous.Mirror); err != nil {
		return state{}, err
	}
	taken, err := takenAddresses(next.Network + "0")
	if err != nil {
		return state{}, err
	}
	if next.CIDR, err = freeNetwork(e.dir, taken); err != nil {
		return state{}, err
	}
	files := map[string]any{
		"engine.json": engineConfig(next.Mirror),
		"state.json":  next,
	}
	for _, name := range sortedKeys(files) {
		content, err := json.MarshalIndent(files[name], "", "  ")
		if err != nil {
			return state{}, fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(e.dir, name), content, 0o600); err != nil {
			return state{}, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return next, nil
}

// engineConfig is the engine's configuration file.
func engineConfig(mirror string) map[string]any {
	return map[string]any{
		"logLevel": "info",
		"registries": map[string]any{
			// What the mirror does not have comes from where it always does.
			"docker.io": map[string]any{"mirrors": []string{mirror}},
			mirror:      map[string]any{"http": true},
		},
		"gc": map[string]any{"reservedSpace": "5GB", "maxUsedSpace": "20GB", "minFreeSpace": "5%"},
	}
}

func (e *Engine) socket() string { return filepath.Join(e.dir, "engine.sock") }

// checkSocket complains about a cache folder that is too deep for a socket:
// its address holds 107 characters (unix(7)).
func checkSocket(dir string) error {
	if socket := filepath.Join(dir, "engine.sock"); len(socket) > 107 {
		return fmt.Errorf("cache folder: %s has %d characters, a socket's path can have 107", socket, len(socket))
	}
	return nil
}

// readState gives what the last starter left, or nothing.
func readState(dir string) (state, error) {
	var s state
	content, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read engine state: %w", err)
	}
	// A torn file is one of a starter that was killed: as good as none.
	_ = json.Unmarshal(content, &s)
	return s, nil
}

// lastLinesOf gives the end of a file, or why it can't be read.
func lastLinesOf(path string, n int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(content), n)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
