package image

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"dagger.io/dagger"
)

// modules is the stage with an app's node modules, from what its package.json
// and yarn.lock say alone: a change in the app's source does not run yarn
// again. yarn needs no compilers unless a module has to be compiled.
func (b *Builder) modules(a *app, tools *stage) *stage {
	text := `
cp -R /tmp/manifests/. .
` + fromMirror + `
yarn install --frozen-lockfile --non-interactive --no-progress
find . -name node_modules -prune -o -type f -exec rm {} +
# Not every package.json makes a folder, and all are mounted.
mkdir -p ` + strings.Join(a.nodeFolders(), " ") + `
`
	reads := entries(a.files, readsModules)
	return &stage{
		name: "modules", of: a.Name, platform: tools.platform, needs: []*stage{tools},
		key: keyOf("modules", a.Name, tools.key, text, reads),
		build: func(s *stage, in inputs) *dagger.Container {
			// One by one, so that the engine too knows the files by content.
			tree, files := b.tree(a), b.Client.Directory()
			for _, f := range reads {
				files = files.WithFile(f.Path, tree.File(f.Path))
			}
			c := b.cached(toolbox(in[tools]), "yarn-"+a.Name+"-"+path.Base(string(tools.platform))).
				WithMountedDirectory("/tmp/manifests", files).
				WithWorkdir(a.dir())
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory(a.dir()), at: a.dir(), owner: owner, seconds: epoch, passing: true}
		},
	}
}

// served is the stage with those node modules of an app that are in the image.
func (b *Builder) served(a *app, modules *stage) *stage {
	at := a.dir() + "/node_modules"
	return &stage{
		name: "served", of: a.Name, platform: modules.platform, needs: []*stage{modules}, inImage: true,
		history: "node modules of " + a.Name,
		key:     keyOf("served", modules.key, pruneModules, packScript),
		build:   func(_ *stage, in inputs) *dagger.Container { return in[modules] },
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory(at), at: at, owner: owner, seconds: epoch, before: pruneModules}
		},
	}
}

// servesModules says whether an app's node modules belong into the image:
// frappe's do, because its websocket server runs on them, and those of an app
// whose hooks name files in them.
func (a *app) servesModules() bool {
	return a.Name == "frappe" || strings.Contains(a.hooks, "assets/"+a.Name+"/node_modules")
}

// pruneModules removes what neither a server nor a browser loads: compilers,
// types, source maps and documents. Nothing is built in a running image, which
// has no yarn either.
const pruneModules = `
rm -rf .bin .cache .yarn-integrity typescript prettier esbuild esbuild-* @esbuild
find . -type f \( -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.map' -o -name '*.md' -o -name '*.markdown' -o -name '*.flow' -o -name '*.tsbuildinfo' \) -delete
find . -type d \( -name .github -o -name __tests__ \) -prune -exec rm -rf {} +
`

// nodeFolders are the folders of an app, by their path in it, that may have
// node modules.
func (a *app) nodeFolders() []string {
	folders := map[string]bool{}
	for _, f := range a.files {
		if readsModules(f.Path) && path.Base(f.Path) == "package.json" {
			folders[path.Join(path.Dir(f.Path), "node_modules")] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

// assets is the stage with what frappe's esbuild makes of an app's bundles.
//
// frappe finds apps by sites/apps.txt and writes through sites/assets/APP, a
// link into the app. Bundles may import from frappe and from the apps that
// theirs requires, so these are there, and no other is.
//
// Sources and modules are mounted: put together in one file system they would
// be copied, which takes longer than the build.
func (b *Builder) assets(a *app, visible []*app, tools *stage, modules map[string]*stage) *stage {
	s := b.browser("assets", a, visible, tools, modules, bundlesScript, func(v *app) func(string) bool { return v.readsBundles() })
	s.history = "bundles of " + a.Name
	return s
}

// front is the stage with an app's front end of its own, which its package.json
// says how to build. It has nothing to do with frappe's bundles and is built
// beside them.
func (b *Builder) front(a *app, visible []*app, tools *stage, modules map[string]*stage) *stage {
	own := map[string]*stage{a.Name: modules[a.Name]}
	s := b.browser("front", a, visible, tools, own, frontScript, func(v *app) func(string) bool {
		if v == a {
			return readsAssets
		}
		return v.readsBundles()
	})
	s.history = "front end of " + a.Name
	return s
}

// browser is a stage that builds something of an app for browsers, in a bench
// of the visible apps.
func (b *Builder) browser(name string, a *app, visible []*app, tools *stage, modules map[string]*stage, text string, reads func(*app) func(string) bool) *stage {
	text = benchScript + text + collectScript
	needs := []*stage{tools}
	parts := []any{name, a.Name, tools.key, text, packScript}
	var names []string
	for _, v := range visible {
		names = append(names, v.Name)
		parts = append(parts, v.Name, entries(v.files, reads(v)))
		if m := modules[v.Name]; m != nil {
			needs = append(needs, m)
			parts = append(parts, m.key)
		}
	}
	key := keyOf(parts...)
	return &stage{
		name: name, of: a.Name, needs: needs, inImage: true, key: key,
		build: func(s *stage, in inputs) *dagger.Container {
			c := toolbox(in[tools])
			var absent []string
			for _, v := range visible {
				c = c.WithMountedDirectory(v.dir(), b.tree(v))
				for _, front := range v.fronts() {
					if !reads(v)(front + "/package.json") {
						absent = append(absent, path.Join("apps", v.Name, front))
					}
				}
				m := modules[v.Name]
				if m == nil {
					continue
				}
				for _, folder := range v.nodeFolders() {
					if reads(v)(path.Dir(folder) + "/package.json") {
						folder = path.Join(v.dir(), folder)
						c = c.WithMountedDirectory(folder, in[m].Directory(folder))
					}
				}
			}
			c = c.WithEnvVariable("NAMES", strings.Join(names, " ")).
				WithEnvVariable("APP", a.Name).
				WithEnvVariable("ABSENT", strings.Join(absent, " ")).
				// frappe's build waits for a Redis to come up unless this is CI.
				WithEnvVariable("CI", "1")
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{
				from: c.Directory("/tmp/out"), at: a.dir(), owner: owner, seconds: timeOf(key),
				info: c.Directory("/tmp/info"),
			}
		},
	}
}

// timeOf is the time that built assets carry: some after the epoch, decided by
// the stage's key. nginx tells an old file from a new one by time and size, and
// the same name with another content of the same size must not pass for old.
func timeOf(key string) int64 {
	seconds := int64(0)
	for _, r := range key[:6] {
		seconds = seconds*16 + int64(strings.IndexRune("0123456789abcdef", r))
	}
	return epoch + seconds
}

// benchScript makes a bench of $NAMES for building. What no front end reads, see
// pythonOnly, is not there: nothing can depend on what is in no key. An app's
// own front end may read what bench writes into common_site_config.json.
const benchScript = `
for folder in ${ABSENT:-}; do rm -rf "$folder"; done
for app in $NAMES; do
	find "apps/$app" -name node_modules -prune -o -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.po' -o -name '*.pot' -o -name '*.csv' \
		-o -name patches.txt -o -name modules.txt -o -name requirements.txt -o -name pyproject.toml -o -name setup.cfg -o -name MANIFEST.in \
		-o -path "apps/$app/.git/*" -o -path "apps/$app/.github/*" -o -path "apps/$app/.gitignore" -o -path "apps/$app/.git-blame*" \) -exec rm {} +
	rm -f "apps/$app"/*.md
done
mkdir -p sites/assets
printf '%s\n' $NAMES >sites/apps.txt
printf '{"socketio_port": 9000, "webserver_port": 8000}' >sites/common_site_config.json
for app in $NAMES; do
	public=$PWD/apps/$app/$app/public
	mkdir -p "$public"
	ln -s "$public" "sites/assets/$app"
	# A front end asks for some modules by their public path.
	[ ! -d "apps/$app/node_modules" ] || ln -sfn "$PWD/apps/$app/node_modules" "$public/node_modules"
done
touch /tmp/before
`

const bundlesScript = `
(cd apps/frappe && yarn run --silent production --apps "$APP")
`

const frontScript = `
(cd "apps/$APP" && yarn run --silent build)
`

// collectScript puts what came into being into /tmp/out.
const collectScript = `
mkdir /tmp/out /tmp/info
cd "apps/$APP"
find . -name node_modules -prune -o -cnewer /tmp/before -type f -print0 | tar --null --no-recursion -T - -c | tar -x -C /tmp/out
cd ../../sites/assets
for name in assets.json assets-rtl.json; do
	[ ! -e $name ] || cp $name /tmp/info/
done
`
