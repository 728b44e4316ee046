package config

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

var (
	// hostLabel is one part of a host name.
	hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	// userName is what useradd takes, and capitals.
	userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,31}$`)
)

// isHost reports whether a text is a host name or an IP address.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	if len(text) > 253 {
		return false
	}
	for _, label := range strings.Split(text, ".") {
		if !hostLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// isHostPort reports whether a text is "host" or "host:port".
func isHostPort(text string) bool {
	address, ok := parseAddress(text)
	return ok && address.User == "" && !strings.Contains(text, "@")
}

// jumpHost reads how to reach the host to connect through.
func jumpHost(field **host.Config) parser {
	return func(l *loader, key, value string) {
		if value == "" {
			return
		}
		address, ok := parseAddress(value)
		if !ok {
			l.bad(key, "write user@host:port; user and port may be left out", "is %s, which is not of the form user@host:port", quote(value))
		}
		*field = &address
	}
}

// parseAddress reads "user@host:port", an IPv6 address in brackets.
func parseAddress(text string) (host.Config, bool) {
	address := host.Config{Port: 22}
	if user, rest, ok := strings.Cut(text, "@"); ok {
		if !userName.MatchString(user) {
			return address, false
		}
		address.User, text = user, rest
	}
	name, port := text, ""
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if name, port, ok = strings.Cut(rest, "]"); !ok || port != "" && port[0] != ':' || !strings.Contains(name, ":") {
			return address, false
		}
	} else if i := strings.IndexByte(text, ':'); i >= 0 && i == strings.LastIndexByte(text, ':') {
		name, port = text[:i], text[i:]
	}
	if port != "" {
		n, err := strconv.Atoi(port[1:])
		if err != nil || n < 1 || n > 65535 {
			return address, false
		}
		address.Port = n
	}
	address.Address = name
	return address, isHost(name)
}
