package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/distribution/reference"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// mirror reads the URL of a server in place of a public one, which may have
// credentials in it.
func mirror(field *secret.Secret) parser {
	return into(field, func(value string) secret.Secret { return secret.New(strings.TrimRight(value, "/")) }).where(mirrorURL)
}

// mirrorURL is the rule of a mirror's URL. The value is a secret: none of it
// gets into a problem.
func mirrorURL(value string) (wrong, remedy string) {
	value = strings.TrimRight(value, "/")
	u, err := url.Parse(value)
	switch {
	case strings.ContainsFunc(value, spaceOrControl):
		return "has white space or a control character in it", "set it again without that"
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || !isHostPort(u.Host):
		return "is not the URL of a server", "write it as https://host/path; in a password write special characters as %40 for @"
	case strings.ContainsAny(value, "?#"):
		return "has a ? or # in it", "end it with the path"
	case u.Scheme == "http" && u.User != nil && !near(u.Hostname()):
		return "has credentials in it, which http:// would send unencrypted", "write https:// in front, or leave the credentials out"
	}
	return "", ""
}

// registries reads registries of Node packages with their logins.
func registries(field *[]image.Registry) parser {
	return into(field, func(value string) (list []image.Registry) {
		for _, entry := range registryEntries(value) {
			scope, address := scopeOf(entry)
			list = append(list, image.Registry{Scope: scope, URL: secret.New(strings.TrimRight(address, "/"))})
		}
		return list
	}).where(npmRegistries)
}

// registryEntries takes apart a list of registries, and scopeOf one of them.
func registryEntries(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
}

func scopeOf(entry string) (scope, address string) {
	if strings.HasPrefix(entry, "@") {
		scope, address, _ = strings.Cut(entry, "=")
		return scope, address
	}
	return "", entry
}

var (
	npmScope = regexp.MustCompile(`^@[a-z0-9~-][a-z0-9._~-]*$`)
	// bearerToken is what RFC 6750 has for a token.
	bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)
)

// npmRegistries is the rule of a list of registries. The value is a secret: none of it
// gets into a problem but scopes.
func npmRegistries(value string) (wrong, remedy string) {
	const form = "write @scope=https://user:password@host/path, or with a token @scope=https://_authToken:TOKEN@host/path, separated by commas"
	seen := map[string]bool{}
	for number, entry := range registryEntries(value) {
		scope, address := scopeOf(entry)
		which := fmt.Sprintf("has an entry, number %d, that ", number+1)
		if scope != "" {
			if !npmScope.MatchString(scope) {
				return which + "begins with an @ and no scope", form
			}
			which = "has an entry for " + scope + " that "
			if seen[scope] {
				return "has two entries for " + scope, "remove one of the two; one without @scope gives a login alone"
			}
			seen[scope] = true
		}
		if wrong, remedy := mirrorURL(address); wrong != "" {
			if strings.HasPrefix(wrong, "is not") {
				remedy = form + "; in a password write special characters as %40 for @ and %2C for a comma"
			}
			return which + wrong, remedy
		}
		u, err := url.Parse(address)
		if err != nil {
			return which + "is not the URL of a server", form
		}
		password, _ := u.User.Password()
		switch {
		case u.User == nil && scope == "":
			return which + "has neither a scope nor a login", form
		case u.User.Username() == "_authToken" && !bearerToken.MatchString(password):
			return which + "has no token behind _authToken:", "copy the token again; user:password is for a login with a password"
		}
	}
	return "", ""
}

func spaceOrControl(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// near reports whether a host is this machine or in a private network. Names are
// not looked up: but for localhost they count as far away.
func near(host string) bool {
	host = strings.ToLower(host)
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	address = address.Unmap()
	return address.IsLoopback() || address.IsPrivate()
}

// credentials returns what of a URL is secret: its password or, as some
// servers take a token for a user name, the name alone. Tools take URLs
// apart, so that hiding the whole one is not enough.
func credentials(mirror secret.Secret) secret.Secret {
	u, err := url.Parse(mirror.Reveal())
	if err != nil {
		return secret.Secret{}
	}
	if password, _ := u.User.Password(); password != "" {
		return secret.New(password)
	}
	return secret.New(u.User.Username())
}

// repositoryLogin returns what of restic's repository is secret: restic puts a word for
// the kind, such as rest:, in front of the URL.
func repositoryLogin(repository secret.Secret) secret.Secret {
	if kind, rest, found := strings.Cut(repository.Reveal(), ":"); found && !strings.HasPrefix(rest, "//") && !strings.ContainsAny(kind, "@/") {
		repository = secret.New(rest)
	}
	return credentials(repository)
}

// imageMirror is the rule of a registry, or a path in one, in place of Docker
// Hub.
func imageMirror(value string) (wrong, remedy string) {
	const image = "/library/python"
	value = strings.TrimSuffix(value, "/")
	name, err := reference.ParseNormalizedNamed(value + image)
	switch {
	case strings.Contains(value, "://"):
		return "has a scheme in front", "leave out what stands before the host"
	case strings.Contains(value, "@"):
		// It may be a password.
		return "has an @ in it", "write host or host:port, and a path if there is one; docker login keeps credentials"
	case err != nil || !isHostPort(reference.Domain(name)):
		return "is " + quote(value) + ", which is not the name of a registry",
			"write host or host:port, and a path in small letters if there is one, for instance mirror.example.com/hub"
	case name.Name() != value+image:
		return "is " + quote(value) + ", which would be taken for a name on Docker Hub",
			"write the host's whole name, or its port as well, for instance mirror.example.com/hub"
	}
	return "", ""
}
