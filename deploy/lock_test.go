//go:build unix

package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLockOfNoOne: a lock that a run left that has ended keeps nothing from
// being done; that of a run whose folder is gone is for the operator to take
// away.
func TestLockOfNoOne(t *testing.T) {
	short(t)
	m := newMachine(t)
	r := m.mustRelease("1.0.0")
	lock := filepath.Join(m.dir, "lock")
	leave := func(run string) {
		if err := os.WriteFile(lock, []byte("run="+run+"\npid=1\ntick=1\nboot=earlier\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leave(r.Run)
	if s := m.inspect(); s.Lock != nil || s.LastRun.ID != r.Run || s.LastRun.Status != RunDone {
		t.Errorf("lock %+v, last run %+v", s.Lock, s.LastRun)
	}
	m.mustRelease("1.0.1")
	if _, err := os.Stat(lock); err == nil {
		t.Error("the lock is left")
	}

	leave("000009-2.0.0-abcd")
	_, report := MakePlan(t.Context(), m.inspect(), m.target(), lockOf("1.0.2"))
	if len(report) != 1 || report[0].Code != "deploy.lock-left" || report[0].Remedy != "pipeline unlock --force takes the lock away" {
		t.Errorf("a lock of a run that is gone: %v", report)
	}
	if out, err := os.ReadFile(lock); err != nil || !strings.Contains(string(out), "000009-2.0.0-abcd") {
		t.Errorf("it was taken: %v", err)
	}
}
