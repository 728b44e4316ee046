//go:build unix

package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// secure releases a version with certificates of an ACME server.
func (m *machine) secure(version string) (release.Record, error) {
	m.t.Helper()
	record, _, err := m.carryOut(m.t.Context(), m.plan(m.t.Context(), m.secureTarget(), version), testImage)
	return record, err
}

func (m *machine) secureTarget() Target {
	target := m.target()
	target.TLS = compose.TLS{Mode: compose.TLSACME, Domains: []string{"localhost"}, Port: 48443}
	return target
}

// noCertificate has the proxy get none, and say why.
func (m *machine) noCertificate() {
	m.when("proxy", "label=com.docker.compose.service=traefik", "echo proxy-1; exit")
	m.when("inspect", "{{.State.Running}} {{.Image}} {{.Config.Image}}", "echo false a b; exit")
	m.when("look", "Looks at the certificates", "echo missing localhost has only a stand-in; exit 1")
	m.when("refused", "logs --tail 2000 proxy-1", `echo 'ERR Unable to obtain ACME certificate for domains error="acme: error: 403: DNS problem"'; exit`)
}

// A certificate that does not come undoes a release that brings https to a site that
// visitors have, and nothing else.
func TestNoCertificate(t *testing.T) {
	short(t)
	t.Run("first release", func(t *testing.T) {
		m := newMachine(t)
		m.noCertificate()
		record, err := m.secure("1.0.0")
		if err != nil || m.current() != "releases/1.0.0" {
			t.Fatalf("%v, current is %s", err, m.current())
		}
		if notes := strings.Join(record.Notes, "\n"); !strings.Contains(notes, "no certificate: localhost has only a stand-in") || !strings.Contains(notes, "403: DNS problem") || !strings.Contains(notes, "docker restart erp-traefik-1") {
			t.Errorf("notes: %s", notes)
		}
	})
	t.Run("https for a site that runs", func(t *testing.T) {
		m := newMachine(t)
		m.mustRelease("1.0.0")
		m.noCertificate()
		_, err := m.secure("1.0.1")
		var failed *FailedError
		if !errors.As(err, &failed) || failed.State != RolledBack || failed.Step != "await-certificate" || m.current() != "releases/1.0.0" {
			t.Fatalf("%v, current is %s", err, m.current())
		}
		if said := err.Error() + failed.Detail; !strings.Contains(said, "403: DNS problem") || !strings.Contains(said, "no browser takes: localhost has only a stand-in") {
			t.Errorf("said: %s", said)
		}
	})
	t.Run("by swap, with the proxy as it was", func(t *testing.T) {
		m := newMachine(t)
		if _, err := m.secure("1.0.0"); err != nil {
			t.Fatal(err)
		}
		m.noCertificate()
		target := m.secureTarget()
		target.Strategy = Swap
		record, _, err := m.carryOut(t.Context(), m.plan(t.Context(), target, "1.0.1"), testImage)
		if err != nil || !slices.ContainsFunc(record.Notes, func(note string) bool { return strings.Contains(note, "the proxy stayed as it was") }) {
			t.Fatalf("%v, notes: %q", err, record.Notes)
		}
	})
}

// Links lead to the site's address, unless an operator has said otherwise.
func TestSetURL(t *testing.T) {
	short(t)
	for _, c := range []struct {
		name, was string
		set       string // what is written there; empty for nothing
		note      string
	}{
		{"nothing is there", "", "https://localhost:48443", ""},
		{"it is there", "https://localhost:48443", "", ""},
		{"an operator's", "http://erp.other", "", "links to erp.example.com begin with http://erp.other, its host_name, which stays"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.when("url", "run(sys.argv[1:]) get_url", "echo erp.example.com "+c.was)
			record, err := m.secure("1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			set := ""
			for _, call := range m.calls() {
				if _, url, ok := strings.Cut(call, "set_url erp.example.com"); ok {
					set = strings.TrimSpace(url)
				}
			}
			if set != c.set {
				t.Errorf("%q is written, want %q", set, c.set)
			}
			if notes := strings.Join(record.Notes, "\n"); !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}

// A release from before https has a proxy that would not answer who comes by it.
func TestRollbackFromHTTPS(t *testing.T) {
	short(t)
	m := newMachine(t)
	m.mustRelease("1.0.0")
	m.when("url", "run(sys.argv[1:]) get_url", "echo erp.example.com")
	record, err := m.secure("1.0.1")
	if err != nil || record.TLS != compose.TLSACME || !slices.Equal(record.URLs, []string{"https://localhost:48443"}) {
		t.Fatalf("%v, recorded are %q %q", err, record.TLS, record.URLs)
	}
	state, err := Inspect(t.Context(), m, m.secureTarget())
	if err != nil {
		t.Fatal(err)
	}
	if _, report := PlanRollback(state, m.secureTarget(), "", false); len(report) != 1 || !strings.Contains(report.Err().Error(), "has TLS=off and not acme") {
		t.Errorf("%v", report.Err())
	}
	plan, report := PlanRollback(state, m.target(), "", false)
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	m.when("url", "run(sys.argv[1:]) get_url", "echo erp.example.com https://localhost:48443")
	if _, _, err := m.carryOut(t.Context(), plan, testImage); err != nil {
		t.Fatal(err)
	}
	if calls := strings.Join(m.calls(), "\n"); !strings.Contains(calls, "set_url erp.example.com \n") {
		t.Errorf("links still lead to https:\n%s", calls[max(0, len(calls)-2000):])
	}
}
