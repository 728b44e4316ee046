package deploy

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// What is in the way of certificates and of the proxy is known before anything changes.
func TestWayToTheHost(t *testing.T) {
	const listening = "00000000:0050\n0100007F:0016\n00000000000000000000000000000000:01BB\n"
	target := Target{Project: "erp", HTTPPort: 80, TLS: compose.TLS{Mode: compose.TLSACME, Port: 443, Directory: "https://acme.example/dir"}}
	for _, c := range []struct {
		name                   string
		published              string
		own, names, acme       string
		problems, unsure, port []string
	}{
		{name: "nothing is wrong", published: "erp|erp-traefik-1|0.0.0.0:80->80/tcp, :::80->80/tcp, 0.0.0.0:443->443/tcp\n",
			own: "198.51.100.4 172.17.0.1", names: "erp.example.com 198.51.100.4\nwww.example.com 2001:db8::1 198.51.100.4\n"},
		{name: "ports are taken", published: "shop|shop-nginx-1|0.0.0.0:80->80/tcp\n",
			port: []string{"port 80 of the host: is taken by the container shop-nginx-1", "set HTTP_PORT", "port 443 of the host: is taken by another program", "set HTTPS_PORT"}},
		{name: "a range of ports", published: "erp|a|0.0.0.0:80->80/tcp, 0.0.0.0:443-444->443-444/tcp\n"},
		{name: "domains lead elsewhere", published: "erp|a|:80->80/tcp, :443->443/tcp\n", own: "198.51.100.4", names: "erp.example.com 203.0.113.9\nwww.example.com\n",
			problems: []string{"erp.example.com: leads to 203.0.113.9, and the host has 198.51.100.4", "TLS=dns or TLS=proxy", "www.example.com: leads nowhere"}},
		{name: "behind a router", published: "erp|a|:80->80/tcp, :443->443/tcp\n", own: "192.168.1.4 100.101.1.2 2001:db8::4", names: "erp.example.com 203.0.113.9\n",
			unsure: []string{"erp.example.com leads to 203.0.113.9, which the host does not have itself (192.168.1.4, 100.101.1.2, 2001:db8::4)"}},
		{name: "a host that calls itself by the name", published: "erp|a|:80->80/tcp, :443->443/tcp\n", own: "198.51.100.4", names: "erp.example.com 127.0.1.1\n"},
		{name: "no ACME server", published: "erp|a|:80->80/tcp, :443->443/tcp\n", acme: "curl: (6) Could not resolve host: acme.example",
			problems: []string{"ACME server https://acme.example/dir: does not answer the host: curl: (6)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			state := State{ports: parsePorts(listening, c.published), reach: parseReach(c.own, c.names, c.acme)}
			for _, part := range []struct {
				got  string
				want []string
			}{
				{rendered(state.portProblems(target, []int{80, 443})), c.port},
				{rendered(state.reachProblems(target)), c.problems},
				{strings.Join(state.Unsure(target), "\n"), c.unsure},
			} {
				if len(part.want) == 0 && part.got != "" {
					t.Errorf("there should be nothing, and there is\n%s", part.got)
				}
				for _, want := range part.want {
					if !strings.Contains(part.got, want) {
						t.Errorf("%q is not in\n%s", want, part.got)
					}
				}
			}
		})
	}
}

// Without https nothing is asked about it, and with another proxy in front no ACME server.
func TestAsksACME(t *testing.T) {
	for mode, want := range map[string]int{"": 2, compose.TLSOff: 2, compose.TLSProxy: 2, compose.TLSFiles: 2, compose.TLSDNS: 2, compose.TLSACME: 4} {
		target := Target{TLS: compose.TLS{Mode: mode, Directory: "https://acme/dir", Domains: []string{"a.example.com", "b.example.com"}}}
		if got := target.asksACME(); len(got) != want || (got[0] != "") != (mode == compose.TLSACME || mode == compose.TLSDNS) {
			t.Errorf("%q: asks %q", mode, got)
		}
	}
}

// rendered returns problems as they are shown.
func rendered(report problem.Report) string {
	var text strings.Builder
	if len(report) > 0 {
		_ = report.Render(&text)
	}
	return text.String()
}
