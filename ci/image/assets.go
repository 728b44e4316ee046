package image

import (
	"maps"
	"path"
	"slices"
	"strings"

	"dagger.io/dagger"
)

// modules are an app's node modules, from what its package.json and yarn.lock
// say alone: a change in the app's source does not run yarn again.
func (b *Builder) modules(tools *dagger.Container, app fetched) layer {
	l := layer{name: "modules", detail: app.Name, before: tools, made: tools}
	if !app.front() {
		return l
	}
	files := b.Client.Directory()
	for _, name := range slices.Sorted(maps.Keys(app.node)) {
		files = files.WithNewFile(name, app.node[name])
	}
	// The files are mounted and copied by the exec, so that only the modules
	// are the stage's own.
	c := b.cached(tools, "yarn-"+app.Name).
		WithMountedDirectory("/tmp/manifests", files).
		WithWorkdir(app.dir())
	l.made = script(c, `
cp -R /tmp/manifests/. .
yarn install --frozen-lockfile --non-interactive --no-progress
find . -name node_modules -prune -o -type f -exec rm {} +
mkdir -p `+strings.Join(app.nodeFolders(), " ")+`
`)
	return l
}

// nodeFolders are the folders of an app, by their path in it, that may have
// node modules.
func (f *fetched) nodeFolders() []string {
	var folders []string
	for _, name := range slices.Sorted(maps.Keys(f.node)) {
		if path.Base(name) == "package.json" {
			folders = append(folders, path.Join(path.Dir(name), "node_modules"))
		}
	}
	return folders
}

// assets are what all apps serve to browsers: frappe's esbuild bundles those
// of every app, then the apps with a front end of their own build it.
//
// frappe finds apps by sites/apps.txt and writes through sites/assets/APP,
// a link into the app. An app's own front end may read what bench writes into
// common_site_config.json.
//
// Sources and modules are mounted: put together in one file system they would
// be copied, which takes longer than the build.
func (b *Builder) assets(tools *dagger.Container, apps []fetched, sources, modules []layer) layer {
	names := make([]string, len(apps))
	c := b.cached(tools, "assets")
	for i, app := range apps {
		names[i] = app.Name
		c = c.WithMountedDirectory(app.dir(), sources[i].made.Directory(app.dir()))
		if !app.front() {
			continue
		}
		for _, folder := range app.nodeFolders() {
			folder = path.Join(app.dir(), folder)
			c = c.WithMountedDirectory(folder, modules[i].made.Directory(folder))
		}
	}
	c = c.
		WithEnvVariable("NAMES", strings.Join(names, " ")).
		// frappe's build waits for a Redis to come up unless this is CI.
		WithEnvVariable("CI", "1")
	return layer{name: "assets", before: tools, made: script(c, `
mkdir -p sites/assets
printf '%s\n' $NAMES >sites/apps.txt
printf '{"socketio_port": 9000, "webserver_port": 8000}' >sites/common_site_config.json
for app in $NAMES; do
	public=`+benchDir+`/apps/$app/$app/public
	mkdir -p "$public"
	ln -s "$public" "sites/assets/$app"
	for docs in "apps/$app/$app/docs" "apps/$app/$app/www/docs"; do
		if [ -d "$docs" ]; then
			ln -s "`+benchDir+`/$docs" "sites/assets/${app}_docs"
			break
		fi
	done
done
# The front end asks for some of frappe's modules by their own path.
[ ! -d apps/frappe/node_modules ] || ln -sfn `+benchDir+`/apps/frappe/node_modules apps/frappe/frappe/public/node_modules
cd apps/frappe
yarn run --silent production --run-build-command
cd ../..
mv sites/assets assets
rm -f sites/apps.txt sites/common_site_config.json
`)}
}

// built are the files that building the assets put into an app's source.
func (l layer) built(b *Builder, app fetched, source layer) *dagger.Directory {
	added := source.made.Directory(app.dir()).Diff(l.made.Directory(app.dir()))
	return b.Client.Directory().WithDirectory(app.dir(), added, dagger.DirectoryWithDirectoryOpts{
		// Where modules were mounted, empty folders are left.
		Exclude: []string{"**/node_modules/"},
		Owner:   owner,
	})
}
