package localengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// Image is the public image of the engine, which Dagger's command runs too.
const Image = "registry.dagger.io/engine:" + engine.Version

// errNoDocker says that there is no Docker to run an engine in, or no image for it.
var errNoDocker = errors.New("no engine in Docker")

// certificatesDir has the certificates that this machine trusts beside the usual
// ones, and that the engine's image takes them from as well.
const certificatesDir = "/usr/local/share/ca-certificates"

// startInDocker joins the container of the cache folder, or starts one. The error
// is errNoDocker where Docker does not run or has no way to the image.
//
// The container is not the one that Dagger's command would start: that one collects
// garbage while the sandbox's host runs (see gcOff), and stays for good.
func startInDocker(ctx context.Context, options Options) (*Engine, error) {
	if out, err := docker(ctx, "version", "--format", "{{.Server.Os}}"); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDocker, err)
	} else if out != "linux" {
		return nil, fmt.Errorf("%w: Docker runs containers of %s, and the engine's are of linux", errNoDocker, out)
	}
	if _, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", Image); err != nil {
		options.Log.Info().Str("image", Image).Msg("fetching the engine, this once")
		if _, err := docker(ctx, "pull", "--quiet", Image); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoDocker, err)
		}
	}
	dir, err := filepath.Abs(filepath.Join(options.CacheDir, "docker"))
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	users, err := acquire(ctx, filepath.Join(dir, "users.lock"), shared)
	if err != nil {
		return nil, fmt.Errorf("start engine: %w", err)
	}
	name := "erpnext-pipeline-" + networkName(dir)
	e := &Engine{dir: dir, users: users, container: name,
		state: state{Endpoint: engine.Endpoint{RunnerHost: "docker-container://" + name, CLI: options.CLI}}}
	if err := e.joinOrRun(ctx, options); err != nil {
		users.release()
		return nil, fmt.Errorf("start engine: %w", err)
	}
	return e, nil
}

// joinOrRun makes sure that the container runs.
func (e *Engine) joinOrRun(ctx context.Context, options Options) error {
	deciding, err := acquire(ctx, filepath.Join(e.dir, "start.lock"), exclusive)
	if err != nil {
		return err
	}
	defer deciding.release()
	runs, err := docker(ctx, "container", "ls", "--quiet", "--filter", "name=^"+e.container+"$", "--filter", "status=running")
	if err != nil || runs != "" {
		return err
	}
	// One that was killed.
	if _, err := docker(ctx, "container", "rm", "--force", e.container); err != nil {
		return err
	}
	if err := e.makeRoomInDocker(ctx, options.Log); err != nil {
		return err
	}
	config, err := json.Marshal(dockerConfig(ctx, options.Hub))
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	file := filepath.Join(e.dir, "engine.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	// Copied and not mounted: Docker may be on another machine than this one.
	create := []string{"container", "create", "--rm", "--privileged", "--name", e.container, "--volume", e.container + ":/var/lib/dagger"}
	for _, variable := range engineEnvironment(os.Environ()) {
		if name, _, _ := strings.Cut(variable, "="); strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			create = append(create, "--env", name)
		}
	}
	if _, err := docker(ctx, append(create, Image)...); err != nil {
		return err
	}
	if _, err := docker(ctx, "container", "cp", file, e.container+":/etc/dagger/engine.json"); err != nil {
		return err
	}
	certificates, err := filepath.Glob(certificatesDir + "/*.crt")
	if err != nil {
		return err
	}
	for _, certificate := range certificates {
		if _, err := docker(ctx, "container", "cp", "--follow-link", certificate, e.container+":"+certificatesDir+"/"); err != nil {
			return err
		}
	}
	_, err = docker(ctx, "container", "start", e.container)
	return err
}

// dockerConfig is the configuration of an engine in Docker.
func dockerConfig(ctx context.Context, hub string) map[string]any {
	config := map[string]any{"logLevel": "info", "gc": gcOff}
	if hub != "" {
		config["registries"] = map[string]any{
			"docker.io": map[string]any{"mirrors": []string{hub}},
			hub:         map[string]any{"http": PlainHTTP(ctx, hub)},
		}
	}
	return config
}

// PlainHTTP reports whether a registry, as host or host:port, speaks HTTP without TLS.
func PlainHTTP(ctx context.Context, registry string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+registry+"/v2/", nil)
	if err != nil {
		return false
	}
	// One with TLS answers such a request with 400, or leads to its other port.
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK || answer.StatusCode == http.StatusUnauthorized
}

// makeRoomInDocker removes the cache's volume where it has grown larger than
// mostKept.
func (e *Engine) makeRoomInDocker(ctx context.Context, log zerolog.Logger) error {
	if found, err := docker(ctx, "volume", "ls", "--quiet", "--filter", "name=^"+e.container+"$"); err != nil || found == "" {
		return err
	}
	out, err := docker(ctx, "container", "run", "--rm", "--entrypoint", "du", "--volume", e.container+":/cache:ro", Image, "-sk", "/cache")
	if err != nil {
		return fmt.Errorf("measure the engine's cache: %w", err)
	}
	text, _, _ := strings.Cut(out, "\t")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("measure the engine's cache: %w", err)
	}
	if size*1024 <= mostKept {
		return nil
	}
	log.Info().Msg("the engine's cache had grown too large and begins anew")
	_, err = docker(ctx, "volume", "rm", e.container)
	return err
}

// closeInDocker ends the container if no other process uses it.
func (e *Engine) closeInDocker(ctx context.Context) error {
	deciding, err := acquire(ctx, filepath.Join(e.dir, "start.lock"), exclusive)
	if err != nil {
		return fmt.Errorf("stop engine: %w", err)
	}
	defer deciding.release()
	last, err := try(filepath.Join(e.dir, "users.lock"), exclusive)
	if err != nil || last == nil {
		return err
	}
	defer last.release()
	// It was created to go when it stops.
	if _, err := docker(ctx, "container", "stop", "--time", "30", e.container); err != nil {
		return fmt.Errorf("stop engine: %w", err)
	}
	return nil
}

// docker runs Docker's command and returns what it prints, or what it complained of.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("docker %s: %w", strings.Join(args[:min(2, len(args))], " "), err)
		if complaint.Len() > 0 {
			err = fmt.Errorf("%w: %s", err, lastLines(complaint.String(), 3))
		}
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}
