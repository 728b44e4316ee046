package image

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"dagger.io/dagger"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// fetched is an app with its source and what the graph has to know of it.
type fetched struct {
	release.App
	tree *dagger.Directory
	// project is the text of pyproject.toml; legacy that of
	// requirements.txt where there is no such file.
	project, legacy string
	// node are the files that decide which node modules an app has, by their
	// path in the app.
	node map[string]string
}

// fetch reads all apps side by side. Each app's own problems are collected,
// so that a release with three bad apps names all three.
func (b *Builder) fetch(ctx context.Context, apps []release.App) ([]fetched, error) {
	out := make([]fetched, len(apps))
	errs := make([]error, len(apps))
	var side errgroup.Group
	for i, app := range apps {
		side.Go(func() error {
			out[i], errs[i] = b.fetchOne(ctx, app)
			return nil
		})
	}
	_ = side.Wait()
	var report problem.Report
	for i, err := range errs {
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		report.Add(problem.Problem{
			Code: "image.app", Subject: apps[i].Name + " " + apps[i].Ref, Detail: err.Error(), Err: err,
			Remedy: "name a ref in apps.json at which the repository is a Frappe app",
		})
	}
	return out, report.Err()
}

func (b *Builder) fetchOne(ctx context.Context, app release.App) (fetched, error) {
	repository, err := b.repository(app)
	if err != nil {
		return fetched{}, err
	}
	f := fetched{App: app, tree: repository.Commit(app.Commit).Tree(dagger.GitRefTreeOpts{DiscardGitDir: true})}
	hooks, err := f.tree.Glob(ctx, "*/hooks.py")
	if err != nil {
		return f, fmt.Errorf("fetch %s at %s: %w", app.URL, app.Commit, withOutput(err))
	}
	if len(hooks) != 1 {
		return f, fmt.Errorf("%d packages with a hooks.py in %s, where a Frappe app has one", len(hooks), app.URL)
	}
	f.Name = path.Dir(hooks[0])
	// Each question is a round trip to the engine.
	side, ctx := errgroup.WithContext(ctx)
	side.Go(func() error { return f.readPython(ctx) })
	side.Go(func() error { return f.readNode(ctx) })
	err = side.Wait()
	return f, err
}

// repository gives the app's repository as the engine reaches it. One on this
// machine's loopback is out of reach for an engine in a container or far
// away, so it goes through the connection to the engine.
func (b *Builder) repository(app release.App) (*dagger.GitRepository, error) {
	address, err := url.Parse(app.URL)
	if err != nil {
		return nil, fmt.Errorf("parse url: %w", err)
	}
	var opts dagger.GitOpts
	if token := b.Tokens[app.URL]; token.IsSet() {
		// The secret's name is part of the cache's key and its value is not.
		opts.HTTPAuthToken = b.Client.SetSecret("token of "+app.URL, token.Reveal())
	}
	if ip := net.ParseIP(address.Hostname()); address.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		port, err := strconv.Atoi(address.Port())
		if err != nil {
			return nil, fmt.Errorf("url %s: a repository on this machine needs a port", app.URL)
		}
		opts.ExperimentalServiceHost = b.Client.Host().Service(
			[]dagger.PortForward{{Backend: port, Frontend: port}}, dagger.HostServiceOpts{Host: address.Hostname()}).
			WithHostname(loopbackName)
		address.Host = net.JoinHostPort(loopbackName, address.Port())
	}
	return b.Client.Git(address.String(), opts), nil
}

// loopbackName is the name under which the engine reaches this machine.
const loopbackName = "pipeline"

var versionLine = regexp.MustCompile(`(?m)^__version__\s*=\s*["']([^"']+)["']`)

// readPython reads the app's version and requirements.
func (f *fetched) readPython(ctx context.Context) error {
	text, err := f.tree.File(f.Name + "/__init__.py").Contents(ctx)
	if err != nil {
		return fmt.Errorf("read %s/__init__.py: %w", f.Name, err)
	}
	match := versionLine.FindStringSubmatch(text)
	if match == nil {
		return fmt.Errorf("no __version__ in %s/__init__.py", f.Name)
	}
	f.Version = match[1]

	names, err := f.tree.Entries(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", f.Name, err)
	}
	read := func(name string) (string, error) {
		if !slices.Contains(names, name) {
			return "", nil
		}
		text, err := f.tree.File(name).Contents(ctx)
		if err != nil {
			return "", fmt.Errorf("read %s of %s: %w", name, f.Name, err)
		}
		return text, nil
	}
	if f.project, err = read("pyproject.toml"); err != nil || f.project != "" {
		return err
	}
	f.legacy, err = read("requirements.txt")
	return err
}

// readNode reads what yarn reads. Loaded as texts, the files key the stage by
// what they say and not by the commit that they are from.
func (f *fetched) readNode(ctx context.Context) error {
	f.node = map[string]string{}
	var writing sync.Mutex
	side, ctx := errgroup.WithContext(ctx)
	for _, pattern := range []string{"package.json", "yarn.lock", "*/package.json", "*/yarn.lock"} {
		side.Go(func() error {
			paths, err := f.tree.Glob(ctx, pattern)
			if err != nil {
				return fmt.Errorf("list %s of %s: %w", pattern, f.Name, err)
			}
			for _, p := range paths {
				text, err := f.tree.File(p).Contents(ctx)
				if err != nil {
					return fmt.Errorf("read %s of %s: %w", p, f.Name, err)
				}
				writing.Lock()
				f.node[p] = text
				writing.Unlock()
			}
			return nil
		})
	}
	return side.Wait()
}

// dir is where the app lies in the bench.
func (f *fetched) dir() string { return benchDir + "/apps/" + f.Name }

// front says whether the app has node modules at all.
func (f *fetched) front() bool { return strings.TrimSpace(f.node["package.json"]) != "" }

// source is the layer with an app's source, owned by the image's user.
func (b *Builder) source(tools *dagger.Container, app fetched) layer {
	return layer{
		name: "app", detail: app.Name, before: tools,
		made: tools.WithDirectory(app.dir(), app.tree, dagger.ContainerWithDirectoryOpts{Owner: owner}),
	}
}
