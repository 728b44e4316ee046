// Package baseline builds a Frappe image the way it is commonly built: all apps
// in one `bench init`, as the custom Containerfile of frappe_docker has it.
// Benchmarks hold the pipeline's own build against it.
//
// It is the public way in every respect that a measurement sees: the same
// stages, nothing kept from one build to the next but what the engine caches,
// Python packages as they are on the day. Where it differs, it differs in its
// own favour or because it must:
//
//   - Node is copied out of its image, where the public way has nvm fetch it.
//   - wkhtmltopdf is Debian's, where the public way has a patched one.
//   - bench and yarn have fixed versions; pip's and apt's archives are removed.
//   - nginx has no configuration for a site.
//
// It shares the public way's faults as well. bench logs every clone with its
// address, so the tokens of private apps are in the image, in logs/bench.log.
// Such an image is for a sandbox, not for a registry that others read.
package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// BenchDir is where the bench lies in the image.
const BenchDir = home + "/frappe-bench"

// App is an app of the image.
type App struct {
	URL string
	// Ref is a branch or a tag: bench clones no commits.
	Ref string
	// Token opens a private repository.
	Token secret.Secret
}

// Options say what to build.
type Options struct {
	Client *dagger.Client
	// Python and Node are full versions.
	Python, Node string
	// Apps has frappe first. A repository on this machine's loopback is
	// reached through the connection to the engine.
	Apps []App
	// Address is where the image goes, as registry/name:tag.
	Address string
	// Salt makes bench init run again. Without another one it does not, even
	// if the apps have moved or are others: apps.json is a secret, and
	// secrets are in no cache key.
	Salt string
	// Observe is called with every stage when it ends. It may be nil.
	Observe func(Stage)
}

// Stage is a finished stage of a build.
type Stage struct {
	Name string
	Took time.Duration
}

// Build makes the image, publishes it, and returns its reference with digest.
func Build(ctx context.Context, o Options) (string, error) {
	base := o.base()
	build := withBuildPackages(base)
	builder, err := o.builder(build)
	if err != nil {
		return "", err
	}
	backend := o.backend(base, builder)
	for _, stage := range []struct {
		name      string
		container *dagger.Container
	}{{"base", base}, {"build", build}, {"builder", builder}, {"backend", backend}} {
		err := o.run(stage.name, func() error {
			_, err := stage.container.Sync(ctx)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	var reference string
	err = o.run("publish", func() (err error) {
		reference, err = backend.Publish(ctx, o.Address)
		return err
	})
	return reference, err
}

// run runs a stage and calls Observe.
func (o Options) run(name string, stage func() error) error {
	start := time.Now()
	if err := stage(); err != nil {
		return fmt.Errorf("run stage %s: %w", name, o.readable(err))
	}
	if o.Observe != nil {
		o.Observe(Stage{Name: name, Took: time.Since(start)})
	}
	return nil
}

// readable adds the end of what a failed command printed. Tokens are taken
// out: git repeats addresses, and these carry them.
func (o Options) readable(err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	var text strings.Builder
	redactor := secret.NewRedactor(&text)
	for _, app := range o.Apps {
		redactor.Add(app.Token)
	}
	fmt.Fprintf(redactor, "exit %d\n%s\n%s", exec.ExitCode, tail(exec.Stdout), tail(exec.Stderr))
	if err := redactor.Flush(); err != nil {
		return err
	}
	return errors.New(text.String())
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// repository is an app as bench is told of it.
type repository struct {
	URL    string `json:"url"`
	Branch string `json:"branch"`
}

// server is a git server on this machine's loopback, under the name by which
// bench init reaches it.
type server struct {
	name, host string
	port       int
}

// repositories renders the apps' addresses for bench init, tokens included,
// and returns the servers that these need.
func repositories(apps []App) ([]repository, []server, error) {
	var (
		all     []repository
		servers []server
	)
	known := map[string]bool{}
	for _, app := range apps {
		address, err := url.Parse(app.URL)
		if err != nil {
			return nil, nil, fmt.Errorf("parse url: %w", err)
		}
		if loopback(address.Hostname()) {
			port, err := strconv.Atoi(address.Port())
			if err != nil {
				return nil, nil, fmt.Errorf("url %s: a repository on this machine needs a port", app.URL)
			}
			s := server{name: fmt.Sprintf("git-%d", port), host: address.Hostname(), port: port}
			if !known[s.name] {
				known[s.name] = true
				servers = append(servers, s)
			}
			address.Host = net.JoinHostPort(s.name, address.Port())
		}
		if app.Token.IsSet() {
			// git asks for a password where an address has only a user.
			address.User = url.UserPassword("x-access-token", app.Token.Reveal())
		}
		all = append(all, repository{URL: address.String(), Branch: app.Ref})
	}
	return all, servers, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// appsJSON renders the list of apps that bench init reads. frappe is not in
// it.
func appsJSON(apps []repository) (string, error) {
	text, err := json.Marshal(apps)
	if err != nil {
		return "", fmt.Errorf("render apps.json: %w", err)
	}
	return string(text), nil
}
