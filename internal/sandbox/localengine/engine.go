// Package localengine runs a Dagger engine for the sandbox: where Docker runs, a
// container of the public image, and else on a bare Debian machine out of Go modules
// and Debian packages.
//
// Without Docker, the engine and a registry that answers for docker.io run under a supervisor,
// apart from the process that started them. Every process that uses the same
// cache folder shares them, and the supervisor ends when the last one is gone,
// crashed ones included: it waits for a lock that all users hold. Three locks
// in the engine's folder make that work:
//
//	users.lock    shared by all users; the supervisor takes it to end
//	running.lock  held by the supervisor until everything is gone
//	start.lock    held by the process that decides whether to start
//
// What stays is the cache: the tools, the engine's state, the registry's
// content and the last log.
package localengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	// Docker has the engine run in Docker, where that runs and has the public image
	// or can fetch it.
	Docker bool
	// Hub is a registry, as host or host:port, that the engine in Docker has images
	// of docker.io from; empty for docker.io itself.
	Hub string
	// CLI is the path of Dagger's command for the engine in Docker; empty for the one
	// that the SDK downloads.
	CLI string
	Log zerolog.Logger
}

// Engine is one use of a running engine.
type Engine struct {
	dir      string
	state    state
	commands commands
	users    *fileLock
	// container is the engine's in Docker; empty where it is a process.
	container string
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
// debian.ErrUnsupported where that can't be done: without Docker it takes Debian and
// root.
func Start(ctx context.Context, options Options) (*Engine, error) {
	if options.Docker {
		e, err := startInDocker(ctx, options)
		if err == nil || !errors.Is(err, errNoDocker) {
			return e, err
		}
		if unsupported := supported(); unsupported != nil {
			return nil, fmt.Errorf("start engine: %w; start Docker and be a user who may use it: without, this %w", err, unsupported)
		}
		options.Log.Info().AnErr("docker", err).Msg("the engine is built from source, because it can't run in Docker")
	}
	if err := supported(); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
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

// Endpoint is how to reach the engine.
func (e *Engine) Endpoint() engine.Endpoint { return e.state.Endpoint }

// Mirror is the address, as host:port, of the registry that the engine asks
// first for images of docker.io. It speaks plain HTTP on the loopback, accepts
// pushes without credentials, and keeps its content. An engine in Docker has none:
// the address is empty.
func (e *Engine) Mirror() string { return e.state.Mirror }

// LogFile is the path of what the engine, the mirror and the supervisor write.
// A new start empties it.
func (e *Engine) LogFile() string { return filepath.Join(e.dir, "engine.log") }

// Claim takes a name for this process alone, among those that use the engine,
// until it is given back or the process ends. What is kept by that name another
// process would destroy.
func (e *Engine) Claim(name string) (giveBack func(), err error) {
	lock, err := try(filepath.Join(e.dir, name+".name"), exclusive)
	if err != nil {
		return nil, fmt.Errorf("claim name: %w", err)
	}
	if lock == nil {
		return nil, fmt.Errorf("a sandbox called %s runs on this machine already: end it first", name)
	}
	return lock.release, nil
}

// Close ends this use of the engine. If no other process uses it, the engine
// ends, and the machine is clean when Close returns.
func (e *Engine) Close() error {
	e.users.release()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if e.container != "" {
		return e.closeInDocker(ctx)
	}
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

// stoppedOrUsed reports whether there is nothing left to wait for: either nothing
// runs or another process uses it. The start lock keeps two that leave at the
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
	only, err := users.change(exclusive)
	return !only, err
}

// runs reports whether there is a supervisor.
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
	previous, err := readState(e.dir)
	if err != nil {
		return err
	}
	running, err := try(filepath.Join(e.dir, "running.lock"), exclusive)
	if err != nil {
		return err
	}
	if running != nil {
		emptied, err := e.makeRoom(ctx, mostKept)
		if err != nil {
			running.release()
			return err
		}
		if emptied {
			log.Info().Msg("the engine's cache had grown too large and begins anew")
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("no answer within %s", startTimeout))
	defer cancel()
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

// await waits until the engine answers, and reports whether it did: it may end
// instead.
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

// lastLinesOf returns the end of a file, or why it can't be read.
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
