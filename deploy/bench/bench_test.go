package bench_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

func TestCommands(t *testing.T) {
	b := bench.Bench{Project: compose.Project{Name: "erp", Dir: "/srv/erp/current", Files: []string{"c.yaml"}}}
	const front = "docker compose -p erp -f /srv/erp/current/c.yaml --env-file /srv/erp/current/.env "
	for _, tc := range []struct {
		name string
		got  []string
		want string
	}{
		{"maintenance on", b.Command(bench.Maintenance("a.example", true)...), front + "exec -T backend bench --site a.example set-config -p maintenance_mode 1"},
		{"maintenance off", b.Command(bench.Maintenance("a.example", false)...), front + "exec -T backend bench --site a.example set-config -p maintenance_mode 0"},
		{"maintenance without a backend", b.Detached(bench.Maintenance("a.example", true)...), front + "run --rm --no-deps -T backend bench --site a.example set-config -p maintenance_mode 1"},
		{"migrate", b.Command(bench.Migrate("a.example")...), front + "exec -T backend bench --site a.example migrate"},
		{"clear cache", b.Command(bench.ClearCache("a.example")...), front + "exec -T backend bench --site a.example clear-cache"},
		{"version", b.Command(bench.Version()...), front + "exec -T backend bench version -f json"},
		{"sites", b.Sites(), front + "exec -T backend find sites -mindepth 2 -maxdepth 2 -name site_config.json"},
		{"ping", bench.Ping(8080, "a.example"), "curl --silent --output /dev/null --max-time 5 --write-out %{http_code} --header Host: a.example http://127.0.0.1:8080/api/method/ping"},
	} {
		if got := strings.Join(tc.got, " "); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
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

func TestParseVersion(t *testing.T) {
	got, err := bench.ParseVersion("DeprecationWarning: pkg_resources\n" +
		`[{"commit": "", "app": "erpnext", "branch": "", "version": "15.17.0"}, {"commit": "", "app": "frappe", "branch": "", "version": "15.17.3"}]` + "\n")
	if err != nil || !maps.Equal(got, map[string]string{"frappe": "15.17.3", "erpnext": "15.17.0"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "frappe 15.17.3", "[{"} {
		if _, err := bench.ParseVersion(bad); err == nil || !strings.HasPrefix(err.Error(), "read bench version: ") {
			t.Errorf("%q: %v", bad, err)
		}
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
