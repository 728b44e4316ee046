package image

import (
	"context"
	"path"
	"slices"
	"strings"

	"dagger.io/dagger"
)

// assets is the stage with what frappe's esbuild makes of an app's bundles.
//
// frappe finds apps by sites/apps.txt and writes through sites/assets/APP, a
// link into the app. Bundles may import from frappe and from the apps that
// theirs requires, so these are there, and no other is.
//
// Sources and modules are mounted: put together in one file system they would
// be copied, which takes longer than the build.
func (b *Builder) assets(a *app, visible []*app, tools *stage, modules map[string]*stage) *stage {
	s := b.browser("assets", a, visible, tools, modules, bundlesScript, func(v *app) func(string) bool { return v.readsBundles(a.linked(v)...) })
	s.history = "bundles of " + a.Name
	return s
}

// front is the stage with an app's front ends of its own, which its package.json
// says how to build. They have nothing to do with frappe's bundles and are built
// beside them. They may link to folders of other apps.
func (b *Builder) front(a *app, visible []*app, tools *stage, modules map[string]*stage) *stage {
	own := map[string]*stage{a.Name: modules[a.Name]}
	for _, other := range b.linkedBy(a) {
		own[other.Name] = modules[other.Name]
	}
	text := a.setUp() + `
(cd "apps/$APP" && ` + a.node.manager.run("build") + `)
`
	asks := b.asks(a)
	if !a.node.installs {
		asks = nil
	}
	if asks != nil {
		text = a.setUp() + `
cd "apps/$APP"
` + ownLogins + a.node.manager.run("build") + `
cd ../..
`
	}
	s := b.browser("front", a, visible, tools, own, text, func(v *app) func(string) bool {
		if v == a {
			return readsAssets
		}
		return v.readsBundles(a.linked(v)...)
	})
	s.history, s.asks = "front end of "+a.Name, asks
	return s
}

// browser is a stage that builds something of an app for browsers, in a bench
// of the visible apps.
func (b *Builder) browser(name string, a *app, visible []*app, tools *stage, modules map[string]*stage, text string, reads func(*app) func(string) bool) *stage {
	for _, other := range b.linkedBy(a) {
		if !slices.Contains(visible, other) {
			visible = append(visible, other)
		}
	}
	text = benchScript + text + collectScript
	needs := []*stage{tools}
	parts := []any{name, a.Name, tools.key, text, packScript}
	var names []string
	for _, v := range visible {
		names = append(names, v.Name)
		needs = append(needs, b.fetched(v))
		parts = append(append(parts, v.Name, entries(v.files, reads(v))), v.apart()...)
		parts = append(parts, v.withoutLogins()...)
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
				c = c.WithMountedDirectory(v.dir(), v.source(in[b.fetched(v)]))
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
				WithEnvVariable("ABSENT", strings.Join(absent, "\n")).
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
[ -z "${ABSENT:-}" ] || printf '%s\n' "$ABSENT" | while IFS= read -r folder; do rm -rf "./$folder"; done
for app in $NAMES; do
	find "apps/$app" -name node_modules -prune -o -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.po' -o -name '*.pot' -o -name '*.csv' \
		-o -name patches.txt -o -name modules.txt -o -name requirements.txt -o -name pyproject.toml -o -name setup.cfg -o -name MANIFEST.in \
		-o -path "apps/$app/.git/*" -o -path "apps/$app/.github/*" -o -path "apps/$app/.gitignore" -o -path "apps/$app/.git-blame*" \) -exec rm {} +
	rm -f "apps/$app"/*.md
	# By these Frappe 16 knows a folder as an app. What is in them nothing reads.
	touch "apps/$app/$app/hooks.py" "apps/$app/$app/modules.txt" "apps/$app/$app/patches.txt"
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
