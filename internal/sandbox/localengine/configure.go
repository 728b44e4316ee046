package localengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// state is what the process that starts an engine leaves for the others.
type state struct {
	Endpoint engine.Endpoint `json:"endpoint"`
	Mirror   string          `json:"mirror"`
	Network  string          `json:"network"`
	CIDR     string          `json:"cidr"`
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
		"gc": gcOff,
	}
}

// gcOff has an engine collect no garbage: Dagger 0.19.10 does it a minute after it
// starts and after each session, and takes files of a container that runs along. See
// makeRoom.
var gcOff = map[string]any{"enabled": false}

// mostKept is how large an engine's cache may be, in bytes, when the engine starts.
const mostKept = 20e9

// makeRoom empties the cache of an engine that does not run, where it has grown
// larger than some bytes. It reports whether it did.
func (e *Engine) makeRoom(ctx context.Context, most int64) (bool, error) {
	root := filepath.Join(e.dir, "state")
	out, err := exec.CommandContext(ctx, "du", "--summarize", "--block-size=1", root).Output()
	if err != nil {
		return false, fmt.Errorf("measure the engine's cache: %w", err)
	}
	text, _, _ := strings.Cut(string(out), "\t")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false, fmt.Errorf("measure the engine's cache: %w", err)
	}
	if size <= most {
		return false, nil
	}
	if err := os.RemoveAll(root); err != nil {
		return false, fmt.Errorf("empty the engine's cache: %w", err)
	}
	return true, os.Mkdir(root, 0o700)
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

// readState returns what the last such process left, or nothing.
func readState(dir string) (state, error) {
	var s state
	content, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read engine state: %w", err)
	}
	// A torn file is one of a process that was killed: as good as none.
	_ = json.Unmarshal(content, &s)
	return s, nil
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
