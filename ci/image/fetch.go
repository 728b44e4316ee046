package image

import (
	"net"
	"net/url"
	"strconv"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
)

// sourceDir is where the stage "fetch" has an app's source.
const sourceDir = "/source"

// fetchScript checks out $COMMIT of $REPOSITORY. Submodules are left out, as bench
// does: their folders are there, and empty. The repository lasts from build to
// build, with the commit that was fetched last, so that only what has changed since
// is sent; where it was left half made, it is made anew.
const fetchScript = `
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/run/trust/gitconfig GIT_INDEX_FILE=/run/trust/index GIT_DIR="$HOME/repository"
if [ -e /run/git-token ]; then
	# For this server alone, wherever it leads to.
	git config --global "credential.$SERVER.helper" '!printf "username=x-access-token\npassword=%s\n" "$(cat /run/git-token)"; :'
fi
get() {
	git init --quiet --bare "$GIT_DIR"
	git -c gc.autoDetach=false fetch --quiet --no-tags --depth 1 "$REPOSITORY" "+$COMMIT:refs/kept"
}
rm -f "$GIT_DIR"/*.lock
if [ ! -e "$GIT_DIR" ]; then get; else get 2>/dev/null || { rm -rf "$GIT_DIR"; get; }; fi
mkdir ` + sourceDir + `
cd ` + sourceDir + `
git --work-tree=. checkout --quiet --force "$COMMIT" -- .
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
			address, err := url.Parse(a.URL)
			if err != nil {
				panic(err) // apps.Load has parsed the address.
			}
			if apps.IsLoopback(address.Host) {
				c, address.Host = b.withLoopback(c, address)
			}
			if token := b.Tokens[a.URL]; token.IsSet() {
				c = c.WithMountedSecret("/run/git-token", b.Client.SetSecret("token of "+a.URL, token.Reveal()))
			}
			server := url.URL{Scheme: address.Scheme, Host: address.Host}
			return b.script(c.WithEnvVariable("REPOSITORY", address.String()).WithEnvVariable("SERVER", server.String()).WithEnvVariable("COMMIT", a.Commit), s, fetchScript)
		},
	}
	return a.fetch
}

// loopbackName is the name under which the engine reaches this machine.
const loopbackName = "pipeline"

// withLoopback returns a container that reaches a server on this machine's
// loopback, and where it does. The loopback is out of reach for an engine in a
// container or far away, so it goes through the connection to the engine.
func (b *Builder) withLoopback(c *dagger.Container, server *url.URL) (*dagger.Container, string) {
	port, err := strconv.Atoi(server.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[server.Scheme]
	}
	service := b.Client.Host().Service([]dagger.PortForward{{Backend: port, Frontend: port}}, dagger.HostServiceOpts{Host: server.Hostname()})
	return c.WithServiceBinding(loopbackName, service), net.JoinHostPort(loopbackName, strconv.Itoa(port))
}
