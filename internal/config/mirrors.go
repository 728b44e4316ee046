package config

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"github.com/distribution/reference"

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
