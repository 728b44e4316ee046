package image

import (
	"context"

	"dagger.io/dagger"
)

// source is the stage with an app's source. Its files carry the time of the
// commit: nginx tells an old file from a new one by time and size. The source
// of an app's own front end is not there, only what was built of it.
func (b *Builder) source(a *app) *stage {
	exclude := []string{"./.git", "./.github", "./cypress"}
	for _, front := range a.fronts() {
		exclude = append(exclude, "./"+front)
	}
	fetched := b.fetched(a)
	return &stage{
		name: "app", of: a.Name, needs: []*stage{fetched}, inImage: true,
		history: a.Name + " " + a.Ref + " " + a.Commit,
		key:     keyOf(append([]any{"app", a.Name, a.CommittedAt.Unix(), exclude, packScript, entries(a.files, func(string) bool { return true })}, a.apart()...)...),
		build:   func(_ *stage, in inputs) *dagger.Container { return in[fetched] },
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory(sourceDir), at: a.dir(), owner: owner, seconds: a.CommittedAt.Unix(), exclude: exclude}
		},
	}
}

// apart keeps the stages of an app with submodules apart from those of earlier
// versions of this program, which fetched them and had them in no key.
func (a *app) apart() []any {
	if a.has(".gitmodules") {
		return []any{"without submodules"}
	}
	return nil
}

// link is the stage with what makes an app known to the virtualenv: what an
// editable installation leaves there.
func (b *Builder) link(a *app, tools, environment *stage) *stage {
	text := `
touch /tmp/before
` + withoutApps(b.visible(a)) + `uv pip install --quiet --python env/bin/python --no-cache --offline --no-deps --no-build-isolation --editable apps/` + a.Name + `
# uv's own notes tell when this was, which must not matter.
find env -name uv_cache.json -delete
find env -name RECORD -cnewer /tmp/before -exec sed -i '/uv_cache\.json/d; /__pycache__/d' {} +
mkdir /tmp/out
(cd env && find bin lib -cnewer /tmp/before ! -type d ! -name '*.pyc' -print0 | tar --null --no-recursion -T - -c) | tar -x -C /tmp/out
`
	fetched := b.fetched(a)
	parts := []any{"link", a.Name, tools.key, environment.key, text, benchApps, entries(a.files, readsLink(a.Name)), topPackages(a.files)}
	if !a.project.static() {
		parts = append(parts, entries(a.files, readsMetadata))
	}
	return &stage{
		name: "link", of: a.Name, needs: []*stage{tools, environment, fetched},
		key: keyOf(parts...),
		build: func(s *stage, in inputs) *dagger.Container {
			c := b.withBenchApps(toolbox(in[tools])).
				WithMountedDirectory(benchDir+"/env", in[environment].Directory(benchDir+"/env")).
				WithMountedDirectory(a.dir(), in[fetched].Directory(sourceDir))
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory("/tmp/out"), at: benchDir + "/env", owner: owner, seconds: epoch}
		},
	}
}
