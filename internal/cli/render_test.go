package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestRenderPlan(t *testing.T) {
	plan := samplePlan()
	golden(t, "plan.txt", renderPlan(sampleLock(), samplePackages, "erp.example.com", &plan))
	plan.Migrate = true
	if text := renderPlan(sampleLock(), samplePackages, "erp.example.com", &plan); !strings.Contains(text, "\nThe sites are migrated, whatever has changed (--migrate).\n") {
		t.Errorf("a migration that was asked for is not shown:\n%s", text)
	}
	golden(t, "plan-first.txt", renderPlan(sampleLock(), "", "", nil))
	golden(t, "summary.md", releaseSummary(plan.Apps, sampleRecord()))
}

func TestRenderPackages(t *testing.T) {
	for name, test := range map[string]struct{ before, after, want string }{
		"none are known":   {"", "", ""},
		"a first release":  {"", "a==1\nb==2\n", "\nPython packages: 2\n"},
		"the same":         {"a==1\n", "a==1\n", "\nPython packages: 1, none moves\n"},
		"one moves":        {"a==1\nb==2\n", "a==1\nb==3\n", "\nPython packages: 2, of which move\n  b 2 → 3\n"},
		"one is new":       {"a==1\n", "a==1\nb==3\n", "\nPython packages: 2, of which move\n  b 3 is new\n"},
		"one is not there": {"a==1\nb==2\n", "a==1\n", "\nPython packages: 1, of which move\n  b 2 goes\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := renderPackages(test.before, test.after); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRenderRollback(t *testing.T) {
	plan := samplePlan()
	plan.Version, plan.Previous, plan.Apps = "1.1.4", "1.1.5", plan.Apps[:1]
	const (
		head = "\nGo back from 1.1.5 to 1.1.4\n\n  frappe  v15.15.0 aaaaaaaaaaaa  unchanged\n\n"
		tail = "\nOn erp.example.com, project de-erpnext:\n  1. pull: pull the image\n  2. migrate: migrate the site\n\n"
	)
	if got, want := renderRollback("erp.example.com", plan), head+"The databases stay as they are (--restore-data puts them back too).\n"+tail; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := rollbackQuestion(plan), "Go back to 1.1.4?"; got != want {
		t.Errorf("asks %q, want %q", got, want)
	}
	plan.RestoreFrom, plan.RestoreTime = "6-1.1.5", time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	if got, want := rollbackQuestion(plan), "Go back to 1.1.4, with the data as they were at 2026-01-02 02:04:05 UTC?"; got != want {
		t.Errorf("asks %q, want %q", got, want)
	}
	if got, want := renderRollback("erp.example.com", plan),
		head+"The databases are put back as they were at 2026-01-02 02:04:05 UTC, from the backup of run 6-1.1.5: what was written since then is only in the backup that this takes first.\n"+tail; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRenderState(t *testing.T) {
	for name, state := range sampleStates() {
		t.Run(name, func(t *testing.T) { golden(t, "status-"+name+".txt", renderState(state)) })
	}
}

func TestRenderHistory(t *testing.T) {
	record := sampleRecord()
	const want = "VERSION  LIVE SINCE (UTC)     DOWNTIME  DIGEST        REPLACED\n1.1.5    2024-03-20 12:00:00  12.3s     0f0f0f0f0f0f  1.1.4\n"
	if got := renderHistory([]release.Record{record}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := renderTimes(record.Steps), "pull     3.2s\nmigrate  101.3s\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRenderDemo(t *testing.T) { golden(t, "demo.txt", renderDemo(sampleDemo())) }

func TestRenderHTTPS(t *testing.T) {
	acme := compose.TLS{Mode: compose.TLSACME, Port: 443, Domains: []string{"erp.example.com", "www.example.com"}}
	for want, plan := range map[string]deploy.Plan{
		"": {},
		"\nHTTPS: off → acme, https://erp.example.com, https://www.example.com\n": {Target: deploy.Target{TLS: acme}},
		"\nHTTPS: files → off: who comes by https gets no answer any more\n":      {TLSBefore: compose.TLSFiles},
	} {
		if got := renderHTTPS(plan); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := renderHTTPS(deploy.Plan{TLSBefore: compose.TLSACME, Target: deploy.Target{TLS: acme}}); got != "" {
		t.Errorf("nothing changes, and it says %q", got)
	}
}
