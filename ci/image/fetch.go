package image

import "dagger.io/dagger"

// sourceDir is where the stage "fetch" has an app's source.
const sourceDir = "/source"

// fetchScript checks out $COMMIT of $REPOSITORY. Submodules are left out, as bench
// does: their folders are there, and empty. The repository lasts from build to
// build, with the commit that was fetched last, so that only what has changed since
// is sent; where it is half made or damaged, it is made anew.
const fetchScript = gitScript + `
export GIT_INDEX_FILE=/run/trust/index GIT_DIR="$HOME/repository"
get() {
	git init --quiet --bare "$GIT_DIR" &&
		git -c gc.autoDetach=false fetch --quiet --no-tags --depth 1 "$REPOSITORY" "+$COMMIT:refs/kept" &&
		rm -rf ` + sourceDir + ` "$GIT_INDEX_FILE" && mkdir ` + sourceDir + ` &&
		git -C ` + sourceDir + ` --work-tree=. checkout --quiet --force "$COMMIT" -- .
}
rm -f "$GIT_DIR"/*.lock
if [ ! -e "$GIT_DIR" ]; then get; else get 2>/dev/null || { rm -rf "$GIT_DIR"; get; }; fi
`

// fetched is the stage with an app's source, as git checks it out.
func (b *Builder) fetched(a *app) *stage {
	if a.fetch != nil && a.fetch.needs[0] == b.packer {
		return a.fetch
	}
	a.fetch = &stage{
		name: "fetch", of: a.Name, unstored: true, needs: []*stage{b.packer}, key: keyOf("fetch", a.URL, a.Commit),
		build: func(s *stage, in inputs) *dagger.Container {
			c := in[s.needs[0]].
				WithMountedCache(cacheHome, b.Client.CacheVolume("erpnext-pipeline-git-"+keyOf(a.URL)), dagger.ContainerWithMountedCacheOpts{Sharing: dagger.CacheSharingModeLocked}).
				WithEnvVariable("HOME", cacheHome)
			c = b.withGit(c, []app{*a}, a.URL+"/").WithEnvVariable("REPOSITORY", a.URL).WithEnvVariable("COMMIT", a.Commit)
			return b.script(c, s, fetchScript)
		},
	}
	return a.fetch
}
