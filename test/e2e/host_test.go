package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// hostLink is a test's connection to the host, made when it is first needed.
type hostLink struct {
	mu   sync.Mutex
	host *host.Host
	// siteAddress is where the site answers for others in the host's network.
	siteAddress string
}

// connect returns the test's connection to the host.
func (u *user) connect() *host.Host {
	u.t.Helper()
	u.link.mu.Lock()
	defer u.link.mu.Unlock()
	if u.link.host == nil || u.link.host.Err() != nil {
		u.link.host = u.login()
	}
	return u.link.host
}

// login logs in to the host until the test ends.
func (u *user) login() *host.Host {
	u.t.Helper()
	cfg, report := config.Load(config.Sources{Environ: u.environ}, config.HostAccess, nil)
	if err := report.Err(); err != nil {
		u.t.Fatal(err)
	}
	h, err := host.Dial(u.t.Context(), cfg.Host)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = h.Close() })
	return h
}

// onHost runs a command on the host.
func (u *user) onHost(argv ...string) string {
	u.t.Helper()
	return u.onHostWith("", argv...)
}

// onHostWith runs a command on the host with an input: a secret to look for
// must not be among the arguments.
func (u *user) onHostWith(input string, argv ...string) string {
	u.t.Helper()
	result, err := u.connect().Run(u.t.Context(), argv, host.Options{Stdin: strings.NewReader(input)})
	if err != nil {
		u.t.Fatal(err)
	}
	return result.Stdout
}

// container is the id of the running container of a service.
func (u *user) container(service string) string {
	u.t.Helper()
	id := strings.TrimSpace(u.onHost("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.service="+service))
	if id == "" || strings.Contains(id, "\n") {
		u.t.Fatalf("the containers of %s are %q", service, id)
	}
	return id
}

// awaitFile waits until a hook made a file in the home folder.
func (u *user) awaitFile(name string) {
	u.t.Helper()
	u.eventually(name, func() error {
		if u.onHost("sh", "-c", "ls "+name+" 2>/dev/null || true") == "" {
			return errors.New("is not there")
		}
		return nil
	})
}

// backendOnHost puts the id of the running backend into $id of a hook.
const backendOnHost = `id=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=backend | head -n 1)`

// withHooks is the same user with hooks: pairs of name and script.
func (u *user) withHooks(pairs ...string) *user {
	u.t.Helper()
	dir := u.t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, pairs[i]), []byte("#!/bin/sh\nset -eu\n"+pairs[i+1]+"\n"), 0o755); err != nil {
			u.t.Fatal(err)
		}
	}
	u.onHost("rm", "-f", "in-hook", "waiting", "go")
	return u.with("HOOKS_DIR=" + dir)
}

// withOverride is the same user with one more compose file.
func (u *user) withOverride(name, content string) *user {
	u.t.Helper()
	return u.with("COMPOSE_FILES=" + u.env("COMPOSE_FILES") + "," + u.write(name, []byte(content)))
}
