package e2e

import (
	"net/url"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

func (s liveSite) swapOfDataServices(*testing.T) {
	s.withOverride("other-db.yaml", "services:\n  redis-cache:\n    command: [redis-server, --save, \"\", --maxmemory, 128mb]\n").
		fails(deploy("3.2.0", "--strategy", "swap"), cli.ExitFailed, "step check failed", "use the strategy cycle", "nothing was changed")
	s.asBefore()
}

func (s liveSite) swapAndBack(t *testing.T) {
	s.must(deploy("3.2.0", "--strategy", "swap")...)
	if record := s.record("3.2.0"); record.Strategy != "swap" || record.Downtime != 0 {
		t.Errorf("%s with a downtime of %v s", record.Strategy, record.Downtime)
	}
	if _, body := s.get("/api/method/version"); !strings.Contains(body, `"message": "15.1.1"`) && !strings.Contains(body, `"frappe": "15.1.1"`) {
		t.Errorf("versions: %s", body)
	}
	s.note("under 3.2.0")
	s.must("rollback", "--yes", "--strategy", "swap")
	if _, body := s.get("/api/resource/Note?filters=" + url.QueryEscape(`{"title": "under 3.2.0"}`)); !strings.Contains(body, `"name"`) {
		t.Errorf("a note was lost: %s", body)
	}
	if status := s.must("status"); !strings.Contains(status, "version         2.0.0") || strings.Contains(status, "✗") {
		t.Errorf("status:\n%s", status)
	}
}
