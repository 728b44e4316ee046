package deploy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// certificateLimit returns how many seconds certificates have to come: a DNS provider
// takes minutes until others see what was changed there.
func (r runSpec) certificateLimit() int {
	switch r.tls.Mode {
	case compose.TLSFiles:
		return 30
	case compose.TLSDNS:
		return 600
	}
	return 120
}

// asksACME returns what the host is asked about the way of an ACME server to it.
func (t Target) asksACME() []string {
	switch t.TLS.Mode {
	case compose.TLSACME, compose.TLSDNS:
	default:
		return []string{"", ""}
	}
	private := ""
	if t.TLS.CA != "" {
		private = "yes"
	}
	asked := []string{t.TLS.Directory, private}
	if t.TLS.Mode == compose.TLSACME {
		asked = append(asked, t.TLS.Domains...)
	}
	return asked
}

// ports are the TCP ports on which something listens on the host, with the compose
// project and the container that have published them; both are empty for others.
type ports map[int]holder

type holder struct{ project, container string }

// Docker writes ports that follow each other as one range.
var publishedPorts = regexp.MustCompile(`:(\d+)(?:-(\d+))?->[\d-]+/tcp`)

// parsePorts reads the kernel's list of what listens, and Docker's of what it publishes.
func parsePorts(listening, published string) ports {
	found := ports{}
	for _, address := range strings.Fields(listening) {
		_, port, _ := strings.Cut(address, ":")
		if n, err := strconv.ParseUint(port, 16, 16); err == nil {
			found[int(n)] = holder{}
		}
	}
	for line := range strings.Lines(published) {
		parts := strings.SplitN(strings.TrimSpace(line), "|", 3)
		if len(parts) < 3 {
			continue
		}
		for _, m := range publishedPorts.FindAllStringSubmatch(parts[2], -1) {
			from, _ := strconv.Atoi(m[1])
			to, _ := strconv.Atoi(cmp.Or(m[2], m[1]))
			for port := from; port <= min(to, 65535); port++ {
				found[port] = holder{parts[0], parts[1]}
			}
		}
	}
	return found
}

// portProblems returns which of the ports that the set publishes are taken by others.
func (s State) portProblems(t Target, wanted []int) (report problem.Report) {
	for _, port := range wanted {
		by, taken := s.ports[port]
		if !taken || by.project == t.Project {
			continue
		}
		key := "publish another one in the compose files"
		switch port {
		case t.HTTPPort:
			key = "set HTTP_PORT to another one"
		case t.TLS.Port:
			key = "set HTTPS_PORT to another one"
		}
		what := "another program than Docker; as root, ss -ltnp on the host shows which"
		if by.container != "" {
			what = "the container " + by.container
		}
		report.Addf("deploy.port-taken", fmt.Sprintf("port %d of the host", port), "end what listens there, or "+key, "is taken by %s", what)
	}
	return report
}

// reach is what was found out on the way of an ACME server to the host.
type reach struct {
	// own are the host's addresses, names those that domains lead to, as the host
	// looks them up.
	own   []netip.Addr
	names map[string][]netip.Addr
	// acme is why the ACME server does not answer the host; empty where it does.
	acme string
}

func parseReach(own, names, acme string) reach {
	found := reach{own: addresses(strings.Fields(own)), names: map[string][]netip.Addr{}, acme: acme}
	for line := range strings.Lines(names) {
		if words := strings.Fields(line); len(words) > 0 {
			found.names[words[0]] = addresses(words[1:])
		}
	}
	return found
}

func addresses(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// shared are addresses that providers, and private networks over the internet, use inside.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether the world can reach an address.
func public(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) }

// known reports whether it can be told that a domain leads elsewhere: the host has an
// address itself that the world reaches, of the kind that the domain leads to.
func (r reach) known(domain string) bool {
	return slices.ContainsFunc(r.names[domain], func(leads netip.Addr) bool {
		return slices.ContainsFunc(r.own, func(own netip.Addr) bool { return public(own) && own.Is4() == leads.Is4() })
	})
}

func joined(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}

// elsewhere returns the domains that lead to none of the host's addresses, where that
// can be told: one that a host calls itself by may lead to its loopback.
func (r reach) elsewhere() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.names)), func(domain string) bool {
		leads := r.names[domain]
		return len(leads) == 0 || slices.ContainsFunc(leads, func(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(r.own, a) })
	})
}

// reachProblems returns what would keep an ACME server from giving certificates.
func (s State) reachProblems(t Target) (report problem.Report) {
	r := s.reach
	if r.acme != "" {
		report.Addf("deploy.acme-unreachable", "ACME server "+t.TLS.Directory, "let the host reach it, or correct ACME_URL", "does not answer the host: %s", r.acme)
	}
	for _, domain := range slices.Sorted(maps.Keys(r.names)) {
		if len(r.names[domain]) == 0 {
			report.Addf("deploy.domain-unknown", "domain "+domain, "make an A or AAAA record for it that leads to the host, or correct SITE_DOMAINS",
				"leads nowhere: the host can't look it up, and no ACME server could")
		}
	}
	for _, domain := range r.elsewhere() {
		if !r.known(domain) {
			continue // see [State.Unsure]
		}
		report.Addf("deploy.domain-elsewhere", "domain "+domain, "have its record lead to the host; where a CDN or another proxy stands in front, set TLS=dns or TLS=proxy",
			"leads to %s, and the host has %s: the ACME server would ask another one", joined(r.names[domain]), joined(r.own))
	}
	return report
}

// Unsure returns what may keep an ACME server from giving certificates and can't be
// told from here, as sentences.
func (s State) Unsure(t Target) (all []string) {
	if t.TLS.Mode == compose.TLSACME && t.HTTPPort != 80 {
		all = append(all, fmt.Sprintf("The ACME server asks at port 80 of the domains, and HTTP_PORT is %d: that is right where port 80 is led there.", t.HTTPPort))
	}
	for _, domain := range s.reach.elsewhere() {
		if s.reach.known(domain) {
			continue
		}
		all = append(all, fmt.Sprintf("%s leads to %s, which the host does not have itself (%s): that is right where a router leads ports 80 and %d to it.",
			domain, joined(s.reach.names[domain]), cmp.Or(joined(s.reach.own), "no address is known"), t.TLS.Port))
	}
	return all
}
