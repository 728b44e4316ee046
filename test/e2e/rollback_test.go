package e2e

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

func (s liveSite) rollbackWithData(t *testing.T) {
	s.note("after 3.1.0")
	if out := s.must("rollback", "--yes", "--restore-data"); !strings.Contains(out, ":2.0.0@sha256:") {
		t.Errorf("printed %q", out)
	}
	s.asBefore()
	if history := s.must("history"); strings.Count(history, "\n2.0.0") != 2 {
		t.Errorf("history:\n%s", history)
	}
}

func (s liveSite) prune(t *testing.T) {
	out := s.with("KEEP_RELEASES=1").must("prune", "--yes")
	if !strings.Contains(out, "image of 1.0.0") || strings.Contains(out, "image of 2.0.0") || strings.Contains(out, "image of 3.1.0") {
		t.Errorf("printed\n%s", out)
	}
	s.fails([]string{"rollback", "1.0.0", "--yes"}, cli.ExitUsage, "its image is not on the host any more")
}
