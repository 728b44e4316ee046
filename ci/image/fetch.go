package image

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
)

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

// gitScript tells git what [Builder.withGit] has put there. A token is sent to the
// server of its app alone, also where that leads to another.
const gitScript = `
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/run/trust/gitconfig
git config --global credential.useHttpPath true
for pair in $GIT_TOKENS; do
	git config --global --add "credential.${pair#*=}.helper" '!printf "username=x-access-token\npassword=%s\n" "$(cat /run/git-token-'${pair%%=*}')"; :'
done
for pair in $GIT_LOOPBACK; do git config --global "url.${pair#*=}.insteadOf" "${pair%%=*}"; done
`

// withGit returns a container whose next step, which begins with gitScript, can
// fetch what is at some addresses. Where one is of the owner of an app with a token,
// the step has that token, for the app's repository and the others of the owner; the
// code of strangers may run in it, so it has no other. A server on this machine's
// loopback is out of reach for an engine in a container or far away, so it goes
// through the connection to the engine.
func (b *Builder) withGit(c *dagger.Container, list []app, addresses string) *dagger.Container {
	var exact, owners, loopback []string
	for number, a := range list {
		address, err := url.Parse(a.URL)
		if err != nil {
			panic(err) // apps.Load has parsed the address.
		}
		opens := opens(a.URL, addresses)
		if apps.IsLoopback(address.Host) {
			port, err := strconv.Atoi(address.Port())
			if err != nil {
				port = map[string]int{"http": 80, "https": 443}[address.Scheme]
			}
			service := b.Client.Host().Service([]dagger.PortForward{{Backend: port, Frontend: port}}, dagger.HostServiceOpts{Host: address.Hostname()})
			from := address.Scheme + "://" + address.Host + "/"
			name := fmt.Sprintf("pipeline-%d", port)
			address.Host = net.JoinHostPort(name, strconv.Itoa(port))
			if pair := from + "=" + address.Scheme + "://" + address.Host + "/"; !slices.Contains(loopback, pair) {
				c, loopback = c.WithServiceBinding(name, service), append(loopback, pair)
			}
		}
		if token := b.Tokens[a.URL]; token.IsSet() && opens {
			c = c.WithMountedSecret(fmt.Sprintf("/run/git-token-%d", number), b.Client.SetSecret("token of "+a.URL, token.Reveal()))
			pair := fmt.Sprintf("%d=%s", number, address)
			exact = append(exact, pair, pair+".git")
			owners = append(owners, pair[:strings.LastIndexByte(pair, '/')])
		}
	}
	// git takes the first that fits, and the app's own is the better one.
	return c.WithEnvVariable("GIT_TOKENS", strings.Join(append(exact, owners...), " ")).WithEnvVariable("GIT_LOOPBACK", strings.Join(loopback, " "))
}

// opens reports whether a text has an address that belongs to the owner of a
// repository. Hosts of git know no case.
func opens(repository, addresses string) bool {
	_, owner, _ := strings.Cut(strings.ToLower(repository[:strings.LastIndexByte(repository, '/')]), "://")
	return strings.Contains(strings.ToLower(addresses), owner+"/")
}
