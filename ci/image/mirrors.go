package image

import (
	"net/url"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Mirrors are where packages come from in place of the public servers, and
// what has to be trusted to reach them. They are there while a step runs, key
// no stage, and leave nothing in the image.
type Mirrors struct {
	// PyPI is a simple index, NPM a registry of Node packages, Apt a server
	// with debian and debian-security below it. Unset stands for the public
	// ones. They may carry credentials.
	PyPI, NPM, Apt secret.Secret
	// Registries are registries of Node packages for those apps that ask for them,
	// beside NPM.
	Registries []Registry
	// Images is a registry, or a path in one, in place of Docker Hub.
	Images string
	// CAs are certificates in PEM that are trusted besides the public ones.
	CAs string
}

// registries are those that a login may be known for.
func (m Mirrors) registries() []Registry {
	if _, login := npmLogin(m.NPM); login.IsSet() {
		return append(slices.Clone(m.Registries), Registry{URL: m.NPM})
	}
	return m.Registries
}

// prelude goes before every script that reaches the network. Each program is
// told where the certificates are: pip, uv and Node have lists of their own
// otherwise, and Debian's image has none at all. What it writes is on a file
// system of its own that goes with the step.
const prelude = `
trust=/etc/ssl/certs/ca-certificates.crt
[ -e "$trust" ] || trust=` + publicTrust + `
if [ -s /run/trust-extra ]; then
	cat "$trust" /run/trust-extra >/run/trust/bundle.crt 2>/dev/null || cp /run/trust-extra /run/trust/bundle.crt
	trust=/run/trust/bundle.crt
fi
APT_OPTIONS="-o Acquire::Retries=3"
if [ -e "$trust" ]; then
	export SSL_CERT_FILE="$trust" PIP_CERT="$trust" REQUESTS_CA_BUNDLE="$trust" CURL_CA_BUNDLE="$trust" GIT_SSL_CAINFO="$trust" NODE_EXTRA_CA_CERTS="$trust"
	APT_OPTIONS="$APT_OPTIONS -o Acquire::https::CAInfo=$trust"
fi
# An & in a password would stand for the whole match in sed.
literally() { printf %s "${1%/}" | sed 's/[&\\#]/\\&/g'; }
if [ -n "${APT_MIRROR:-}" ]; then
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | grep '^deb ' >/run/trust/sources.list || true
	sed -n 's/^URIs: *//p;s/^Suites: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | while read -r at && read -r suites; do
		for suite in $suites; do echo "deb $at $suite main" >>/run/trust/sources.list; done
	done
	sed -i -E "s#https?://[^ ]*/(debian(-security)?)/? #$(literally "$APT_MIRROR")/\1 #" /run/trust/sources.list
	APT_OPTIONS="$APT_OPTIONS -o Dir::Etc::sourcelist=/run/trust/sources.list -o Dir::Etc::sourceparts=/dev/null"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_RETRIES=3
# npm tries a certificate that it does not trust again, after 10 and 60 s.
export npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=5000 npm_config_update_notifier=false
# Browsers that test tools fetch while they are installed are in no image.
export CYPRESS_INSTALL_BINARY=0 PUPPETEER_SKIP_DOWNLOAD=true PUPPETEER_SKIP_CHROMIUM_DOWNLOAD=true PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
# pip says what went wrong, but not where, and neither it nor npm what to do.
unreached() {
	echo "$1 is $(printf %s "$2" | sed 's#//[^/]*@#//#'). A certificate that is not trusted here needs its CA in EXTRA_CA_FILE." >&2
	exit 1
}
[ -z "${UV_DEFAULT_INDEX:-}" ] || export PIP_INDEX_URL="$UV_DEFAULT_INDEX"
# Files of the public index never change, and what is in it is asked for again
# after the ten minutes that it itself gives. A proxy on the way to it may say
# neither, and then uv fetches and builds again what it has in its cache.
[ -n "${UV_DEFAULT_INDEX:-}" ] ||
	{ printf '[[index]]\nurl = "https://pypi.org/simple"\ndefault = true\ncache-control = { api = "max-age=600", files = "max-age=31536000, immutable" }\n' \
		>/run/trust/uv.toml && export UV_CONFIG_FILE=/run/trust/uv.toml; } 2>/dev/null || true
[ ! -e ` + npmrc + ` ] || export npm_config_userconfig=` + npmrc + `
[ -z "${NPM_MIRROR:-}" ] || export npm_config_registry="$NPM_MIRROR" YARN_REGISTRY="$NPM_MIRROR"
`

// fromMirror has yarn fetch from the mirror what yarn.lock says is at the
// public registry; what arrives is held against the lock's checksums. Other managers
// do so by themselves.
const fromMirror = `
if [ -n "${NPM_MIRROR:-}" ]; then
	find . -name yarn.lock -exec sed -i -E "s#(resolved \"?)https://registry\.(yarnpkg\.com|npmjs\.org)/#\1$(literally "$NPM_MIRROR")/#" {} +
fi
`

// reaching returns a container whose next step has the mirrors and the
// certificates, as secrets: their values are in no cache key and in no layer. It has
// the logins of those registries that the stage may ask.
func (b *Builder) reaching(c *dagger.Container, s *stage) *dagger.Container {
	c = c.WithMountedTemp("/run/trust")
	if b.Mirrors.CAs != "" {
		c = c.WithMountedSecret("/run/trust-extra", b.Client.SetSecret("extra CAs", b.Mirrors.CAs), dagger.ContainerWithMountedSecretOpts{Mode: 0o444})
	}
	npm, login := npmLogin(b.Mirrors.NPM)
	name, berry := "npmrc", secret.Secret{}
	if s.asks != nil {
		name += " of " + s.of
		login, berry = npmConfigs(b.Mirrors.NPM, s.asks.bound(b.Mirrors.Registries), s.asks.named)
	}
	if login.IsSet() {
		c = c.WithMountedSecret(npmrc, b.Client.SetSecret(name, login.Reveal()), dagger.ContainerWithMountedSecretOpts{Mode: 0o444})
		if berry.IsSet() {
			c = c.WithMountedSecret(yarnrc, b.Client.SetSecret("yarn's "+name, berry.Reveal()), dagger.ContainerWithMountedSecretOpts{Mode: 0o444})
		}
	}
	for name, value := range map[string]secret.Secret{"UV_DEFAULT_INDEX": b.Mirrors.PyPI, "NPM_MIRROR": npm, "APT_MIRROR": b.Mirrors.Apt} {
		if value.IsSet() {
			c = c.WithSecretVariable(name, b.Client.SetSecret(name, value.Reveal()))
		}
	}
	return c
}

// publicTrust is where a stage without public CAs finds some.
const publicTrust = "/run/trust-public"

// npmrc is where npm, pnpm and yarn 1 read logins, and yarnrc is where yarn 2 to 4 read
// those of an app that may have several.
const (
	npmrc  = "/run/trust-npmrc"
	yarnrc = "/run/trust-yarnrc"
)

// npmLogin takes the credentials out of a registry's URL and returns them as
// npm's configuration: in the URL they would be sent for what the registry
// lists, and not for the archives that it points to.
func npmLogin(mirror secret.Secret) (registry, login secret.Secret) {
	u, err := url.Parse(mirror.Reveal())
	if err != nil || u.User == nil {
		return mirror, secret.Secret{}
	}
	login = secret.New(npmLines(placeOf(u.String()), u.User))
	u.User, u.Host = nil, strings.ToLower(u.Host)
	return secret.New(u.String()), login
}
