package image

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// npmConfigs returns the login at the mirror and those at registries as npm, pnpm and
// yarn 1 read them, and as yarn 2 to 4 do. named are registries that an app names: not
// every manager has the login of a registry for what is below it.
func npmConfigs(mirror secret.Secret, registries []Registry, named []string) (npmrc, yarnrc secret.Secret) {
	_, login := npmLogin(mirror)
	text := login.Reveal()
	scopes, logins, unencrypted := map[string]any{}, map[string]any{}, []string{}
	add := func(address secret.Secret, places ...string) {
		u, err := url.Parse(address.Reveal())
		if err != nil {
			return // The configuration has only what is an address.
		}
		if u.Scheme == "http" && !slices.Contains(unencrypted, u.Hostname()) {
			unencrypted = append(unencrypted, u.Hostname())
		}
		for _, place := range append(places, placeOf(u.String())) {
			if u.User != nil && logins[place] == nil {
				name, value := loginOf(u.User)
				logins[place] = map[string]any{"npmAlwaysAuth": true, map[string]string{"_auth": "npmAuthIdent", "_authToken": "npmAuthToken"}[name]: value}
				if address != mirror {
					text += npmLines(place, u.User)
				}
			}
		}
	}
	if mirror.IsSet() {
		add(mirror)
	}
	// The nearest login is that of a place.
	nearest := slices.SortedStableFunc(slices.Values(registries), func(a, b Registry) int { return len(placeOf(b.URL.Reveal())) - len(placeOf(a.URL.Reveal())) })
	for _, r := range nearest {
		add(r.URL)
	}
	for _, r := range nearest {
		add(r.URL, slices.DeleteFunc(slices.Clone(named), func(place string) bool { return !r.covers(place) })...)
	}
	for _, r := range registries {
		if r.Scope != "" {
			at, _ := npmLogin(r.URL)
			text += r.Scope + ":registry=" + at.Reveal() + "/\n"
			scopes[strings.TrimPrefix(r.Scope, "@")] = map[string]any{"npmRegistryServer": at.Reveal()}
		}
	}
	written, err := yaml.Marshal(map[string]any{"npmScopes": scopes, "npmRegistries": logins, "unsafeHttpWhitelist": unencrypted})
	if err != nil {
		panic(err) // It is made of plain values.
	}
	return secret.New(text), secret.New(string(written))
}

// loginOf returns a login by npm's name of it: a token's user name is that name.
func loginOf(user *url.Userinfo) (name, value string) {
	password, _ := user.Password()
	if user.Username() == "_authToken" {
		return "_authToken", password
	}
	return "_auth", base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
}

// npmLines returns a login at a place as npm's configuration has it.
func npmLines(place string, user *url.Userinfo) string {
	name, value := loginOf(user)
	return place + "/:" + name + "=" + value + "\n" +
		// yarn keeps the login to itself otherwise, but for scoped packages.
		place + "/:always-auth=true\n"
}

// ownLogins is berryLogin for an app that may have several logins.
const ownLogins = `
if [ -e ` + yarnrc + ` ] && [ -n "${YARN_NODE_LINKER:-}" ]; then
	sed -n 's#^\(//.*\):always-auth=true$#\1#p' ` + npmrc + ` >/run/trust/logins
	[ ! -s /run/trust/logins ] || find . -name node_modules -prune -o -name yarn.lock -exec grep -ho '__archiveUrl=[^"#&]*' {} + | sed 's/%3A/:/gI; s#%2F#/#gI; s#^[^:]*:##' | while read -r archive; do
		while read -r at; do
			case $archive in "$at"*) continue 2 ;; esac
		done </run/trust/logins
		echo "yarn.lock has an archive at $archive, where yarn would send a login of NPM_REGISTRIES or NPM_REGISTRY_URL" >&2
		exit 1
	done
	ln -sf ` + yarnrc + ` ../../.yarnrc.yml
	# That file has the mirror's host too, and all others.
	unset YARN_UNSAFE_HTTP_WHITELIST
fi
`
