package image

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dagger.io/dagger"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Reader tells what a commit holds before anything is fetched.
type Reader interface {
	// Tree lists the files of an app's commit.
	Tree(ctx context.Context, app release.App) ([]apps.File, error)
	// Read gives the content of one of them.
	Read(ctx context.Context, app release.App, file apps.File) (string, error)
}

// app is an app with what the graph has to know of it.
type app struct {
	release.App
	files []apps.File
	// project is the text of pyproject.toml and legacy that of
	// requirements.txt where the first says nothing of requirements.
	project, legacy string
	// hooks is the text of the package's hooks.py.
	hooks string
	// builds says that package.json tells how to build a front end of the
	// app's own. frappe's tells how to build the bundles of all.
	builds bool
	// requires are the apps that hooks.py asks for.
	requires []string
}

// survey reads what the graph has to know of all apps, side by side. Each
// app's own problems are collected, so that a release with three bad apps
// names all three.
func (b *Builder) survey(ctx context.Context, list []release.App) ([]app, error) {
	out := make([]app, len(list))
	errs := make([]error, len(list))
	var side errgroup.Group
	for i, one := range list {
		side.Go(func() error {
			out[i], errs[i] = b.surveyOne(ctx, one)
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
			Code: "image.app", Subject: list[i].Name + " " + list[i].Ref, Detail: err.Error(), Err: err,
			Remedy: "name a ref in apps.json at which the repository is a Frappe app",
		})
	}
	return out, report.Err()
}

func (b *Builder) surveyOne(ctx context.Context, one release.App) (app, error) {
	a := app{App: one}
	var err error
	if a.files, err = b.Reader.Tree(ctx, one); err != nil {
		return a, err
	}
	var packages []string
	for _, f := range a.files {
		if strings.Count(f.Path, "/") == 1 && path.Base(f.Path) == "hooks.py" {
			packages = append(packages, path.Dir(f.Path))
		}
	}
	if len(packages) != 1 {
		return a, fmt.Errorf("%d packages with a hooks.py in %s, where a Frappe app has one", len(packages), one.URL)
	}
	a.Name = packages[0]
	var module, node string
	side, ctx := errgroup.WithContext(ctx)
	for name, text := range map[string]*string{
		a.Name + "/__init__.py": &module, a.Name + "/hooks.py": &a.hooks, "pyproject.toml": &a.project, "requirements.txt": &a.legacy,
		"package.json": &node,
	} {
		at := slices.IndexFunc(a.files, func(f apps.File) bool { return f.Path == name })
		if at < 0 {
			continue
		}
		side.Go(func() (err error) {
			if *text, err = b.Reader.Read(ctx, one, a.files[at]); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			return nil
		})
	}
	if err := side.Wait(); err != nil {
		return a, err
	}
	match := versionLine.FindStringSubmatch(module)
	if match == nil {
		return a, fmt.Errorf("no __version__ in %s/__init__.py", a.Name)
	}
	a.Version = match[1]
	if projectTable.MatchString(a.project) {
		a.legacy = ""
	}
	a.requires = requiredApps(a.hooks)
	if node != "" && a.Name != "frappe" {
		var description struct{ Scripts map[string]string }
		if err := json.Unmarshal([]byte(node), &description); err != nil {
			return a, fmt.Errorf("read package.json: %w", err)
		}
		a.builds = description.Scripts["build"] != ""
	}
	return a, nil
}

var (
	versionLine  = regexp.MustCompile(`(?m)^__version__\s*=\s*["']([^"']+)["']`)
	projectTable = regexp.MustCompile(`(?m)^\[project\]\s*$`)
	comment      = regexp.MustCompile(`#[^\n]*`)
	requiredList = regexp.MustCompile(`(?ms)^required_apps\s*=\s*\[(.*?)\]`)
)

// requiredApps gives the names of the apps that hooks.py asks for. They may be
// written with their owner, "frappe/erpnext".
func requiredApps(hooks string) []string {
	list := requiredList.FindStringSubmatch(hooks)
	if list == nil {
		return nil
	}
	var names []string
	for _, match := range quoted.FindAllStringSubmatch(comment.ReplaceAllString(list[1], ""), -1) {
		names = append(names, strings.ReplaceAll(path.Base(match[1]), "-", "_"))
	}
	return names
}

// has says whether the app has a file.
func (a *app) has(p string) bool {
	return slices.ContainsFunc(a.files, func(f apps.File) bool { return f.Path == p })
}

// dir is where the app lies in the bench.
func (a *app) dir() string { return benchDir + "/apps/" + a.Name }

// tree is the app's source as the engine fetches it.
func (b *Builder) tree(a *app) *dagger.Directory {
	repository, err := b.repository(a.App)
	if err != nil {
		panic(err) // apps.Load has parsed the address.
	}
	return repository.Commit(a.Commit).Tree(dagger.GitRefTreeOpts{DiscardGitDir: true})
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

// source is the stage with an app's source. Its files carry the time of the
// commit: nginx tells an old file from a new one by time and size. The source
// of an app's own front end is not there, only what was built of it.
func (b *Builder) source(a *app) *stage {
	exclude := []string{"./.git", "./.github", "./cypress"}
	for _, front := range a.fronts() {
		exclude = append(exclude, "./"+front)
	}
	return &stage{
		name: "app", of: a.Name, inImage: true,
		history: a.Name + " " + a.Ref + " " + a.Commit,
		key:     keyOf("app", a.Name, a.CommittedAt.Unix(), exclude, packScript, entries(a.files, func(string) bool { return true })),
		pack: func(context.Context, *dagger.Container) packing {
			return packing{from: b.tree(a), at: a.dir(), owner: owner, seconds: a.CommittedAt.Unix(), exclude: exclude}
		},
	}
}

// link is the stage with what makes an app known to the virtualenv: what an
// editable installation leaves there.
func (b *Builder) link(a *app, tools, environment *stage) *stage {
	text := `
touch /tmp/before
uv pip install --quiet --python env/bin/python --no-cache --offline --no-deps --no-build-isolation --editable apps/` + a.Name + `
# uv's own notes tell when this was, which must not matter.
find env -name uv_cache.json -delete
find env -name RECORD -cnewer /tmp/before -exec sed -i '/uv_cache\.json/d; /__pycache__/d' {} +
mkdir /tmp/out
(cd env && find bin lib -cnewer /tmp/before ! -type d ! -name '*.pyc' -print0 | tar --null --no-recursion -T - -c) | tar -x -C /tmp/out
`
	return &stage{
		name: "link", of: a.Name, needs: []*stage{tools, environment},
		key: keyOf("link", a.Name, tools.key, environment.key, text, entries(a.files, readsLink(a.Name)), topPackages(a.files)),
		build: func(s *stage, in inputs) *dagger.Container {
			c := toolbox(in[tools]).
				WithMountedDirectory(benchDir+"/env", in[environment].Directory(benchDir+"/env")).
				WithMountedDirectory(a.dir(), b.tree(a))
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory("/tmp/out"), at: benchDir + "/env", owner: owner, seconds: epoch}
		},
	}
}
