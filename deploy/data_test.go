//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// inFull returns our set with some texts replaced, as compose prints it.
func inFull(t *testing.T, replaced ...string) string {
	t.Helper()
	text, err := os.ReadFile("compose/compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replaced); i += 2 {
		if !strings.Contains(string(text), replaced[i]) {
			t.Fatalf("the set has no %q", replaced[i])
		}
	}
	project, err := loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  "/srv",
		ConfigFiles: []types.ConfigFile{{Filename: "compose-main.yaml", Content: []byte(strings.NewReplacer(replaced...).Replace(string(text)))}},
		Environment: types.Mapping{"IMAGE": "erp", "SITE_NAME": "erp.example.com", "HTTP_PORT": "8080", "DB_ROOT_PASSWORD": "not to be seen", "ADMIN_PASSWORD": "b", "COMPOSE_PROJECT_NAME": "erp"},
	}, func(o *loader.Options) { o.SetProjectName("erp", true) })
	if err != nil {
		t.Fatal(err)
	}
	full, err := project.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(full)
}

// hasSet has compose print a set for a version.
func (m *machine) hasSet(version, set string) {
	m.write("set-"+version, set, 0o600)
	m.when("set-"+version, "/releases/"+version+"/.env config", `case "$*" in *--images) ;; *) cat "$DOCKER_STATE/set-`+version+`"; exit 0 ;; esac`)
}

// hasServer has an image that holds a server.
func (m *machine) hasServer(image, said string) {
	name := strings.NewReplacer("/", "-", ":", "-").Replace(image)
	m.when("id-"+name, "image inspect --format {{.Id}} "+image, "echo id-of-"+name+"; exit 0")
	m.when("server-"+name, "--entrypoint sh id-of-"+name+" -c", "echo '"+said+"'; exit 0")
}

// TestDataServicesChange: what can't be gone back from is refused before the
// sites are closed, and the rest is dumped before.
func TestDataServicesChange(t *testing.T) {
	short(t)
	const mariadb, queue = "image: mariadb:10.11", "[redis-server, --appendonly, \"yes\"]"
	for _, tc := range []struct {
		name     string
		replaced []string
		refused  string // what is said; empty where it goes on
		dumped   bool
	}{
		{"nothing", nil, "", false},
		{"the same series", []string{mariadb, "image: mariadb:10.11.15"}, "", true},
		{"the configuration of the database", []string{"--character-set-server=utf8mb4\n", "--character-set-server=utf8mb4\n      - --innodb-buffer-pool-size=2G\n"}, "", true},
		{"a newer series", []string{mariadb, "image: mariadb:11.4"}, "service db is MariaDB 10.11.6 now and would be MariaDB 11.4.2 on the same data (erp_db-data), which MariaDB 10.11.6 can't read any more then, so there would be no way back. By hand: close the sites", false},
		{"a newer series on another volume", []string{mariadb, "image: mariadb:11.4", "- db-data:/var/lib/mysql", "- db-data-11:/var/lib/mysql", "  db-data:\n", "  db-data-11:\n"}, "", true},
		{"another volume under the same key", []string{"  db-data:\n", "  db-data:\n    name: moved\n"}, "", true},
		{"a newer series on the volume under another key", []string{mariadb, "image: mariadb:11.4", "- db-data:/var/lib/mysql", "- other:/var/lib/mysql", "  db-data:\n", "  other:\n    name: erp_db-data\n"}, "on the same data (erp_db-data)", false},
		{"an older series", []string{mariadb, "image: mariadb:10.6"}, "would be MariaDB 10.6.18 on the same data", false},
		{"an older server of the series", []string{mariadb, "image: mariadb:10.11.3"}, "data are not given to an older server; name an image with MariaDB 10.11.6 or a newer one of that series", false},
		{"another kind", []string{mariadb, "image: mysql:8"}, "would be MySQL 8.0.36 on the same data", false},
		{"a queue of a newer series", []string{"image: redis:7.2\n    pull_policy: missing\n    restart: unless-stopped\n    logging: *logging\n    command: " + queue, "image: redis:7.4\n    command: " + queue},
			"service redis-queue is Redis 7.2.4 now and would be Redis 7.4.1 on the same data (erp_redis-queue), which Redis 7.2.4 can't read any more then, so there would be no way back. By hand: name another volume for it", false},
		{"the page", []string{"This site will be back in a moment", "Ours"}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			for image, said := range map[string]string{
				"mariadb:10.11": "mariadbd mariadbd  Ver 10.11.6-MariaDB-1:10.11.6+maria~ubu2204 for debian-linux-gnu", "mariadb:10.11.15": "mariadbd mariadbd  Ver 10.11.15-MariaDB for Linux",
				"mariadb:10.11.3": "mariadbd mariadbd  Ver 10.11.3-MariaDB for Linux", "mariadb:11.4": "mariadbd mariadbd  Ver 11.4.2-MariaDB-ubu2404 for Linux",
				"mariadb:10.6": "mariadbd mariadbd  Ver 10.6.18-MariaDB for Linux", "mysql:8": "mysqld /usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
				"redis:7.2": "redis-server Redis server v=7.2.4 sha=0:0", "redis:7.4": "redis-server Redis server v=7.4.1 sha=0:0",
			} {
				m.hasServer(image, said)
			}
			// mariadb:10.11 is the beginning of others.
			m.when("id-mariadb-10.11", "image inspect --format {{.Id}} mariadb:10.11", `case "$*" in *10.11) echo id-of-mariadb-10.11; exit 0 ;; esac`)
			m.hasSet("1.0.0", inFull(t))
			m.hasSet("1.0.1", inFull(t, tc.replaced...))
			// No app changed, so nothing but the services is a reason to dump.
			m.mustRelease("1.0.0")
			m.when("backend", "label=com.docker.compose.service=backend", `printf 'one %s\n' "`+m.dir+`/releases/1.0.0/x"; exit 0`)
			before := len(m.calls())
			_, events, err := m.release(t.Context(), "1.0.1")
			calls := m.calls()[before:]
			if tc.refused != "" {
				var failed *FailedError
				if !errors.As(err, &failed) || failed.Step != "check" || failed.State != NothingChanged || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v, want %q", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			dumped := slices.ContainsFunc(calls, func(call string) bool { return strings.HasSuffix(call, " dump erp.example.com") })
			said := slices.ContainsFunc(events, func(e Event) bool { return e.Text == "the database changes (db), so it is dumped before" })
			if dumped != tc.dumped || said != tc.dumped {
				t.Errorf("dumped: %v, said: %v, want %v", dumped, said, tc.dumped)
			}
		})
	}
}

// TestSecretsOfServices: a service of which a secret or a config changed is not
// the same, and no secret is in a file or the log.
func TestSecretsOfServices(t *testing.T) {
	short(t)
	for _, tc := range []struct {
		name, secret, page string
		changed            string
	}{
		{"nothing", "root's", "", ""},
		{"a secret", "root's\nnew\none", "", "db"},
		{"a config", "root's", "Ours", "page"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			m.hasSet("1.0.0", inFull(t))
			set := inFull(t)
			if tc.page != "" {
				set = inFull(t, "Back in a moment", tc.page)
			}
			m.hasSet("1.0.1", set)
			m.mustRelease("1.0.0")
			dotEnv, err := os.ReadFile(m.dir + "/releases/1.0.0/.env")
			if err != nil {
				t.Fatal(err)
			}
			// As if the release before had had it.
			old := strings.ReplaceAll(string(dotEnv), `'root\'s'`, "'"+strings.ReplaceAll(tc.secret, "'", `\'`)+"'")
			if err := os.WriteFile(m.dir+"/releases/1.0.0/.env", []byte(old), 0o600); err != nil {
				t.Fatal(err)
			}
			record := m.mustRelease("1.0.1")
			same, err := os.ReadFile(m.dir + "/runs/" + record.Run + "/same")
			if err != nil {
				t.Fatal(err)
			}
			var changed []string
			for _, service := range []string{"db", "page", "redis-cache", "redis-queue", "traefik"} {
				if !slices.Contains(strings.Fields(string(same)), service) {
					changed = append(changed, service)
				}
			}
			if got := strings.Join(changed, " "); got != tc.changed {
				t.Errorf("changed: %q, want %q", got, tc.changed)
			}
			entries, err := os.ReadDir(m.dir + "/runs/" + record.Run)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				if entry.Type().IsRegular() {
					text, err := os.ReadFile(m.dir + "/runs/" + record.Run + "/" + entry.Name())
					if err != nil || strings.Contains(string(text), "not to be seen") || strings.Contains(string(text), `root\'s`) {
						t.Errorf("%v: a secret is in %s", err, entry.Name())
					}
				}
			}
		})
	}
}

// TestSharersAreReplaced: what lives in the memory of a service goes with it, and
// what lives among the processes of that in turn.
func TestSharersAreReplaced(t *testing.T) {
	short(t)
	// The page among the proxy's processes, and the proxy in the database's memory.
	shared := []string{"  page:\n    image", "  page:\n    pid: service:traefik\n    image", "  traefik:\n", "  traefik:\n    ipc: service:db\n"}
	newer := inFull(t, append(shared, "image: mariadb:10.11\n", "image: mariadb:10.11.15\n")...)
	m := newMachine(t)
	m.hasSet("1.0.0", inFull(t, shared...))
	m.hasSet("1.0.1", newer)
	m.hasSet("1.0.2", newer)
	m.mustRelease("1.0.0")
	for _, service := range []string{"db", "page", "traefik", "redis-cache"} {
		m.when("of-"+service, "--filter label=com.docker.compose.service="+service+" --filter label=com.docker.compose.oneoff=False", "echo "+service+"-1; exit 0")
	}
	m.when("runs", "inspect --format {{.State.Running}} {{.Image}} {{.Config.Image}}", "echo true it it; exit 0")
	m.when("is", "image inspect --format {{.Id}} it", "echo it; exit 0")
	for _, next := range [][2]string{{"1.0.1", "redis-cache"}, {"1.0.2", "db page redis-cache traefik"}} {
		version, want := next[0], next[1]
		record := m.mustRelease(version)
		kept, err := os.ReadFile(m.dir + "/runs/" + record.Run + "/kept")
		if got := strings.Join(strings.Fields(string(kept)), " "); err != nil || got != want {
			t.Errorf("%s: kept: %q, %v, want %q", version, got, err, want)
		}
	}
}

// TestReplicas: a swap brings up as many containers of a service as its set has,
// beside those that are there.
func TestReplicas(t *testing.T) {
	short(t)
	m := newMachine(t)
	set := inFull(t, "    command: [bench, worker, --queue, \"long,default,short\"]\n", "    command: [bench, worker, --queue, \"long,default,short\"]\n    deploy: {replicas: 3}\n",
		"    command: [bench, schedule]\n", "    command: [bench, schedule]\n    scale: 0\n", "    command: [bench, worker, --queue, \"short,default\"]\n", "    command: [bench, worker, --queue, \"short,default\"]\n    scale: 2\n")
	m.hasSet("1.0.0", set)
	m.hasSet("1.0.1", set)
	m.mustRelease("1.0.0")
	// Three of it run already.
	m.when("three", "ps --all --quiet --filter label=com.docker.compose.project=erp --filter label=com.docker.compose.service=queue-long", `printf 'a\nb\nc\n'; exit 0`)
	if _, _, err := m.releaseBy(t.Context(), Swap, "1.0.1"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, call := range m.calls() {
		if _, options, ok := strings.Cut(call, " --no-recreate "); ok && strings.Contains(call, "/releases/1.0.1/") {
			got = append(got, options)
		}
	}
	want := []string{"--scale backend=1 --scale websocket=1 backend websocket", "--scale frontend=1 frontend", "--scale queue-long=6 --scale queue-short=2 queue-long queue-short"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestDataServicesGoBack: a rollback goes back within a series, with a dump, and
// not to data that are elsewhere.
func TestDataServicesGoBack(t *testing.T) {
	short(t)
	for _, tc := range []struct {
		name     string
		replaced []string // of the release that is live
		refused  string
	}{
		{"to an older server of the series", []string{"image: mariadb:10.11", "image: mariadb:10.11.15"}, ""},
		{"to an older series", []string{"image: mariadb:10.11", "image: mariadb:11.4"}, "service db is MariaDB 11.4.2 now and would be MariaDB 10.11.6 on the same data"},
		{"to another volume", []string{"image: mariadb:10.11", "image: mariadb:11.4", "- db-data:/var/lib/mysql", "- db-data-11:/var/lib/mysql", "  db-data:\n", "  db-data-11:\n"},
			"service db keeps its data elsewhere in 1.0.0 than now, so what was written since would be missing there"},
		{"to another volume under the same key", []string{"  db-data:\n", "  db-data:\n    name: moved\n"}, "service db keeps its data elsewhere in 1.0.0 than now"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			m.mustRelease("1.0.0")
			m.mustRelease("1.0.1")
			m.hasServer("mariadb:10.11.15", "mariadbd mariadbd  Ver 10.11.15-MariaDB for Linux")
			m.hasServer("mariadb:11.4", "mariadbd mariadbd  Ver 11.4.2-MariaDB for Linux")
			m.hasServer("mariadb:10.11", "mariadbd mariadbd  Ver 10.11.6-MariaDB for Linux")
			m.when("id-mariadb-10.11", "image inspect --format {{.Id}} mariadb:10.11", `case "$*" in *10.11) echo id-of-mariadb-10.11; exit 0 ;; esac`)
			m.hasSet("1.0.0", inFull(t))
			m.hasSet("1.0.1", inFull(t, tc.replaced...))
			m.when("backend", "label=com.docker.compose.service=backend", `printf 'one %s\n' "`+m.dir+`/releases/1.0.1/x"; exit 0`)
			state, err := Inspect(t.Context(), m, m.target())
			if err != nil {
				t.Fatal(err)
			}
			plan, report := PlanRollback(state, m.target(), "", false)
			if len(report) > 0 {
				t.Fatal(report.Err())
			}
			before := len(m.calls())
			_, _, err = m.carryOut(t.Context(), plan, release.Image{})
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v, want %q", err, tc.refused)
				}
				return
			}
			dumped := slices.ContainsFunc(m.calls()[before:], func(call string) bool { return strings.HasSuffix(call, " dump erp.example.com") })
			if err != nil || !dumped {
				t.Errorf("%v, dumped: %v", err, dumped)
			}
		})
	}
}
