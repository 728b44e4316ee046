package image

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// gitScript tells git what [Builder.withGit] has put there. A token is sent to the
// server of its app alone, also where that leads to another. A key is chosen by
// the repository and not by the host, which may have several of them.
const gitScript = `
export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/run/trust/gitconfig
git config --global credential.useHttpPath true
for pair in $GIT_TOKENS; do
	git config --global --add "credential.${pair#*=}.helper" "!cat /run/git-login-${pair%%=*}; :"
done
for pair in $GIT_INSTEAD; do git config --global --add "url.${pair#*=}.insteadOf" "${pair%%=*}"; done
if [ -n "${GIT_SSH_HOSTS:-}" ]; then
	printf %s "$GIT_SSH_HOSTS" >/run/trust/ssh_config
	export GIT_SSH_COMMAND="ssh -F /run/trust/ssh_config" GIT_SSH_VARIANT=ssh
fi
`

// sshPackages are what a stage needs to fetch over SSH: nothing where no app does.
func sshPackages(lock release.Lock) []string {
	if slices.ContainsFunc(lock.Apps, func(a release.App) bool { return strings.HasPrefix(a.URL, "ssh://") }) {
		return []string{"openssh-client"}
	}
	return nil
}

// sshForPackages are what packages need that are fetched over SSH.
func (b *Builder) sshForPackages(lock release.Lock) []string {
	addresses := wants(b.apps).addresses
	for _, a := range b.apps {
		addresses += a.node.gitModules
	}
	if !strings.Contains(addresses, "ssh://") && !strings.Contains(addresses, "git@") {
		return nil
	}
	return sshPackages(lock)
}

// gitAccess is how git reaches what it fetches, as gitScript reads it.
type gitAccess struct {
	// exact and owners pair the number of a login with an address, instead an
	// address with the one to go to.
	exact, owners, instead []string
	// hosts is ssh's configuration.
	hosts string
}

// withGit returns a container whose next step, which begins with gitScript, can
// fetch what is at some addresses. Where one is of the owner of an app with a token,
// the step has that token, for the app's repository and the others of the owner; the
// code of strangers may run in it, so it has no other. A server on this machine's
// loopback is out of reach for an engine in a container or far away, so it goes
// through the connection to the engine.
func (b *Builder) withGit(c *dagger.Container, list []app, addresses string) *dagger.Container {
	var access gitAccess
	for number, a := range list {
		address, err := url.Parse(a.URL)
		if err != nil {
			panic(err) // apps.Load has parsed the address.
		}
		to := *address
		if apps.IsLoopback(address.Host) {
			c, to.Host = b.withLoopback(c, address)
		}
		source := b.Sources[a.URL]
		switch opens := source.Token.IsSet() && opens(a.URL, addresses); {
		case source.SSH() && opens:
			c = c.WithMountedSecret(fmt.Sprintf("/run/git-key-%d", number), b.Client.SetSecret("key of "+a.URL, source.PrivateKey()))
			access.key(number, address, &to)
		case opens:
			c = c.WithMountedSecret(fmt.Sprintf("/run/git-login-%d", number),
				b.Client.SetSecret("login of "+a.URL, "username="+source.Login()+"\npassword="+source.Token.Reveal()+"\n"))
			access.token(number, &to)
		}
		if from := root(address); to.Host != address.Host && address.Scheme != "ssh" && !slices.Contains(access.instead, from+"="+root(&to)) {
			access.instead = append(access.instead, from+"="+root(&to))
		}
	}
	if access.hosts != "" {
		access.hosts += "Host *\n\tUserKnownHostsFile /run/git-known-hosts\n\t" + strings.Join(apps.SSHOptions, "\n\t") + "\n"
		if b.KnownHosts != "" {
			c = c.WithMountedSecret("/run/git-known-hosts", b.Client.SetSecret("known hosts", b.KnownHosts))
		}
	}
	// git takes the first that fits, and the app's own is the better one.
	return c.WithEnvVariable("GIT_TOKENS", strings.Join(append(access.exact, access.owners...), " ")).
		WithEnvVariable("GIT_INSTEAD", strings.Join(access.instead, " ")).WithEnvVariable("GIT_SSH_HOSTS", access.hosts)
}

// withLoopback returns a container that reaches a server on this machine's loopback, and
// the host by which it does.
func (b *Builder) withLoopback(c *dagger.Container, address *url.URL) (*dagger.Container, string) {
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443, "ssh": 22}[address.Scheme]
	}
	service := b.Client.Host().Service([]dagger.PortForward{{Backend: port, Frontend: port}}, dagger.HostServiceOpts{Host: address.Hostname()})
	name := fmt.Sprintf("pipeline-%d", port)
	return c.WithServiceBinding(name, service), net.JoinHostPort(name, strconv.Itoa(port))
}

// token has git use a login for a repository, and for the others of its owner.
func (g *gitAccess) token(number int, to *url.URL) {
	pair := fmt.Sprintf("%d=%s", number, to)
	g.exact = append(g.exact, pair, pair+".git")
	if owner := ownerOf(to); owner != "" {
		g.owners = append(g.owners, fmt.Sprintf("%d=%s%s", number, root(to), strings.TrimSuffix(owner, "/")))
	}
}

// key has git use a key for a repository, and for the others of its owner: by a host
// of ssh's configuration that stands for the true one. Packages may name the
// repository in git's short form too.
func (g *gitAccess) key(number int, from, to *url.URL) {
	alias := fmt.Sprintf("pipeline-key-%d", number)
	known, port := from.Hostname(), "22"
	if from.Port() != "" && from.Port() != "22" {
		known = "[" + known + "]:" + from.Port()
	}
	if to.Port() != "" {
		port = to.Port()
	}
	g.hosts += fmt.Sprintf("Host %s\n\tHostName %s\n\tPort %s\n\tHostKeyAlias %s\n\tIdentityFile /run/git-key-%d\n", alias, to.Hostname(), port, known, number)
	path := strings.TrimPrefix(from.EscapedPath(), "/")
	for _, prefix := range []string{path, ownerOf(from)} {
		if prefix == "" {
			continue
		}
		there := "ssh://" + from.User.Username() + "@" + alias + "/" + prefix
		g.instead = append(g.instead, root(from)+prefix+"="+there, from.User.Username()+"@"+from.Hostname()+":"+prefix+"="+there)
	}
}

// root is an address up to its path, and ownerOf its path up to the name of the
// repository, with a slash at its end; empty where there is none.
func root(address *url.URL) string {
	return strings.TrimSuffix(address.String(), strings.TrimPrefix(address.EscapedPath(), "/"))
}

func ownerOf(address *url.URL) string {
	path := strings.TrimPrefix(address.EscapedPath(), "/")
	return path[:strings.LastIndexByte(path, '/')+1]
}

// opens reports whether a text has an address that belongs to the owner of a
// repository, or to the repository where it has none. Hosts of git know no case.
func opens(repository, addresses string) bool {
	address, err := url.Parse(strings.ToLower(repository))
	if err != nil {
		return false
	}
	of := regexp.QuoteMeta(ownerOf(address))
	if of == "" {
		of = regexp.QuoteMeta(strings.TrimPrefix(address.EscapedPath(), "/")) + `(\.git)?([^a-z0-9._-]|$)`
	}
	host, between := regexp.QuoteMeta(address.Host), "/"
	if address.Scheme == "ssh" {
		host, between = "("+host+"|"+regexp.QuoteMeta(address.Hostname())+")", "[:/]"
	}
	return regexp.MustCompile(`(//|@)` + host + between + of).MatchString(strings.ToLower(addresses))
}
