package image

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// tree is the app's source as the engine fetches it.
func (b *Builder) tree(a *app) *dagger.Directory {
	repository, err := b.repository(a.App)
	if err != nil {
		panic(err) // apps.Load has parsed the address.
	}
	return repository.Commit(a.Commit).Tree(dagger.GitRefTreeOpts{DiscardGitDir: true})
}

// repository returns the app's repository as the engine reaches it. One on this
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
	if apps.IsLoopback(address.Host) {
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
