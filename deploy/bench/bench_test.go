package bench_test

import (
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
)

func TestPatchFile(t *testing.T) {
	for name, want := range map[string][2]string{
		"payments.patches.v15_0.half":        {"payments", "payments/patches/v15_0/half.py"},
		"payments.patches.half # 2026-11-24": {"payments", "payments/patches/half.py"},
		"execute:frappe.db.sql('select 1')":  {"", ""},
	} {
		p := bench.Patch{Name: name}
		if got := [2]string{p.App(), p.File()}; got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestFailedPatch(t *testing.T) {
	for _, tc := range []struct {
		name, output, want string
	}{
		{"the last one is the culprit", `Migrating erp.example.com
Executing frappe.patches.v15_0.one in erp.example.com (_5e5899d8398b5f7b)
Success: Done in 0.1s
Executing erpnext.patches.v15_1.two in erp.example.com (_5e5899d8398b5f7b): Splits what was one.
Traceback (most recent call last):
pymysql.err.OperationalError: (1054, "Unknown column")
`, "erpnext.patches.v15_1.two on erp.example.com"},
		{"code with spaces", "Executing execute:frappe.db.sql('select 1 in (1)') in erp.example.com (_5e)\nTraceback\n",
			"execute:frappe.db.sql('select 1 in (1)') on erp.example.com"},
		{"all ran, the sync after them failed", "Executing a.b in erp.example.com (_5e)\nSuccess: Done in 1.2s\nUpdating DocTypes\nTraceback\n", ""},
		{"none was reached", "Migrating erp.example.com\nTraceback\n", ""},
	} {
		patch, ok := bench.FailedPatch(tc.output)
		got := ""
		if ok {
			got = patch.String()
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestLockRefused(t *testing.T) {
	refused := "frappe.utils.file_lock.LockTimeoutError: Failed to aquire lock: bench_migrate. Lock may be held by another process.<br>You can manually remove the lock"
	if !bench.LockRefused(refused) {
		t.Error("a refused migrate is not recognised")
	}
	if bench.LockRefused("pymysql.err.OperationalError: (1205, 'Lock wait timeout exceeded')") {
		t.Error("a lock in the database is taken for a refused migrate")
	}
}

func TestParseSites(t *testing.T) {
	got := bench.ParseSites("sites/b.example/site_config.json\nsites/a.example/site_config.json\n")
	if !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("got %v", got)
	}
	if got := bench.ParseSites(""); len(got) != 0 {
		t.Errorf("a new bench has the sites %v", got)
	}
}
