package compose_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// smallest is a set with no more than it needs; what a test adds are services
// and, from a line that is not indented on, other sections.
const smallest = `
x-bench: &bench
  image: ${IMAGE}
  pull_policy: never
  healthcheck: &health {test: [CMD, "true"]}
  volumes: ["sites:/home/frappe/frappe-bench/sites"]
volumes: {sites: {}}
services:
  backend: {<<: *bench}
  frontend: {<<: *bench, command: nginx-entrypoint.sh}
  websocket: {<<: *bench, command: [node, /home/frappe/frappe-bench/apps/frappe/socketio.js]}
`

const withDatabase = smallest + "  db: {image: \"mariadb:10.11\", healthcheck: *health}\n"

func loaded(t *testing.T, text string) (*compose.Set, problem.Report) {
	t.Helper()
	return compose.Load(context.Background(), "erp", []compose.File{{Path: "main.yaml", Name: "main.yaml", Data: []byte(text)}}, values())
}

func mustLoad(t *testing.T, text string) *compose.Set {
	t.Helper()
	set, report := loaded(t, text)
	if len(report) > 0 {
		t.Fatalf("%v", report.Err())
	}
	return set
}

// findings returns code, subject and detail of each problem.
func findings(report problem.Report) []string {
	var all []string
	for _, p := range report {
		all = append(all, p.Code+" "+p.Subject+" "+p.Detail+"; "+p.Remedy)
	}
	return all
}

func TestRoles(t *testing.T) {
	for _, tc := range []struct {
		service string // of the keys of a service
		want    compose.Role
	}{
		{"command: [bench, worker, --queue, short]", compose.Worker},
		{"command: bench worker --queue short,default", compose.Worker},
		{"command: bench --site erp.example.com worker", compose.Worker},
		{"command: bench --site=erp.example.com frappe worker", compose.Worker},
		{"command: bench worker-pool --num-workers 4", compose.Worker},
		{"command: bench schedule", compose.Scheduler},
		{"command: /home/frappe/frappe-bench/env/bin/bench schedule", compose.Scheduler},
		{"command: [/home/frappe/frappe-bench/env/bin/python, /home/frappe/.local/bin/bench, worker]", compose.Worker},
		{"command: [env/bin/python, -m, frappe.utils.bench_helper, frappe, worker, --queue, long]", compose.Worker},
		{"command: [env/bin/python, -m, frappe.utils.bench_helper, frappe, schedule]", compose.Scheduler},
		{"command: bash -c \"cd /home/frappe/frappe-bench && exec bench worker --queue long\"", compose.Worker},
		{"command: [bash, -c, \"cd /home/frappe/frappe-bench; exec bench schedule >>logs/schedule.log 2>&1\"]", compose.Scheduler},
		{"command: [sh, -euc, \"umask 002\\nexec bench worker\\n\"]", compose.Worker},
		{"command: [bash, -euo, pipefail, -c, \"exec bench worker\"]", compose.Worker},
		{"command: [bash, -lc, \"if [ -e sites/apps.txt ]; then exec bench worker; fi\"]", compose.Worker},
		{"entrypoint: [bash, -c]\n    command: [\"wait-for-it -t 120 db:3306; exec bench worker --queue short\"]", compose.Worker},
		{"entrypoint: bench\n    command: worker --queue default", compose.Worker},
		{"entrypoint: [/usr/local/bin/entrypoint.sh]\n    command: [bench, schedule]", compose.Scheduler},
		{"entrypoint: [tini, --]\n    command: [bench, worker]", compose.Worker},
		{"command: wait-for-it db:3306 -t 60 -- bench worker", compose.Worker},
		{"command: env OBJC=1 nice -n 10 bench worker", compose.Worker},
		{"command: gosu frappe bench worker", compose.Worker},
		{"command: sh -c 'exec bench worker &>>logs/worker.log'", compose.Worker},
		{"command: sh -c '(umask 002); OBJC=1 exec nice bench worker || exit 1'", compose.Worker},
		{"command: [bash, -c, \"exec bash -c 'exec bench worker'\"]", compose.Worker},
		{"command: timeout 3600 bench worker", compose.Worker},
		{"command: rq worker --url redis://redis-queue:6379 erp:default", compose.Worker},
		{"command: [env/bin/python, -m, rq.cli, worker]", compose.Worker},
		{"command: [bash, -c, 'exec bench worker --queue \"short,default\" # not bench schedule']", compose.Worker},
		{"command: [bash, -c, \"bash -c 'exec bench schedule'\"]", compose.Scheduler},
		{"command: ./start-jobs.sh\n    labels: [erpnext-pipeline.role=worker]", compose.Worker},
		{"command: bench worker\n    labels: {erpnext-pipeline.role: worker}", compose.Worker},
		{"command: ./serve-more.sh\n    labels: {erpnext-pipeline.role: web}", compose.Web},
		{"command: bash -c \"cd sites && bench serve --port 8001\"", compose.Web},
		{"command: [env/bin/gunicorn, --chdir=sites, \"frappe.app:application\"]", compose.Web},
		{"command: gunicorn worker_queue:application", compose.Web},
		{"restart: always", compose.Web},
		{"image: 'traefik:v3.7'\n    command: --providers.docker=true", compose.Data},
		{"image: 'prom/mysqld-exporter'\n    command: [worker, schedule]", compose.Data},
	} {
		t.Run(tc.service, func(t *testing.T) {
			set := mustLoad(t, withDatabase+"  extra:\n    <<: *bench\n    "+tc.service+replaceVolumes(tc.service)+"\n")
			if got := set.Roles["extra"]; got != tc.want {
				t.Errorf("it is %q, want %q", got, tc.want)
			}
		})
	}
}

// replaceVolumes takes the bench's volumes from a service with another image.
func replaceVolumes(service string) string {
	if strings.HasPrefix(service, "image:") {
		return "\n    volumes: !override []\n    pull_policy: missing"
	}
	return ""
}

func TestShapesRefused(t *testing.T) {
	for _, tc := range []struct {
		name, extra, want string
	}{
		{"a worker and a scheduler in one", "  jobs: {<<: *bench, command: [bash, -c, \"bench schedule & exec bench worker\"]}\n",
			"compose.role main.yaml:13 service jobs runs several programs in one container: its workers can't be stopped by themselves; give each program a service of its own"},
		{"all of a bench in one", "  jobs: {<<: *bench, command: bench start}\n",
			"compose.role main.yaml:13 service jobs runs several programs in one container"},
		{"a process manager", "  jobs: {<<: *bench, entrypoint: [/usr/bin/supervisord, -n]}\n",
			"compose.role main.yaml:13 service jobs runs several programs in one container"},
		{"a script that can't be looked into", "  jobs:\n    <<: *bench\n    command: bash /scripts/run-jobs.sh\n",
			"compose.role main.yaml:15 it can't be told from the command of service jobs whether it answers visitors or runs jobs; say what it is there for with a label, erpnext-pipeline.role: web, worker or scheduler"},
		{"a label that is none", "  jobs: {<<: *bench, command: bench worker, labels: {erpnext-pipeline.role: jobs}}\n",
			"compose.role main.yaml:13 service jobs has the label erpnext-pipeline.role with \"jobs\", which is no role"},
		{"a label against the command", "  jobs: {<<: *bench, command: bench worker, labels: {erpnext-pipeline.role: web}}\n",
			"compose.role main.yaml:13 service jobs has the label erpnext-pipeline.role: web, and the command of another role, worker; take the label away"},
		{"a worker with another image", "  jobs:\n    image: frappe/erpnext:v15\n    healthcheck: *health\n    command: bash -c 'exec bench worker'\n",
			"compose.image main.yaml:14 service jobs is a part of the bench, and has the image frappe/erpnext:v15, not the one of the release: it would stay on old code"},
		{"the sites in another image", "  web2:\n    image: registry.example.com/erp:1.0.0\n    healthcheck: *health\n    volumes: [\"sites:/home/frappe/frappe-bench/sites\"]\n",
			"compose.image main.yaml:14 service web2 is a part of the bench"},
		{"a configurator with another image", "  configurator:\n    image: frappe/erpnext:v15\n    command: bench set-config -g db_host db\n    volumes: [\"sites:/home/frappe/frappe-bench/sites\"]\n  jobs: {<<: *bench, command: bench worker, depends_on: {configurator: {condition: service_completed_successfully}}}\n",
			"compose.image main.yaml:14 service configurator is a part of the bench"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report := loaded(t, withDatabase+tc.extra)
			if got := findings(report); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.want) }) {
				t.Errorf("want %q, got:\n%s", tc.want, strings.Join(got, "\n"))
			}
		})
	}
	for command, behind := range map[string]string{
		"sh -c 'cd sites && bench worker'":                            "a shell",
		"[bash, -c, \"bench worker\"]":                                "a shell",
		"bash -c 'bench worker -q a & bench worker -q b & wait'":      "a shell",
		"bash -c 'exec bench worker & wait'":                          "a shell",
		"bash -c 'exec bench worker 2>&1 | tee worker.log'":           "a shell",
		"bash -c '(exec bench worker)'":                               "a shell",
		"[bash, -c, \"bash -c 'exec bench worker'\"]":                 "a shell",
		"bash -c 'if [ -e a ]; then bench worker; fi'":                "a shell",
		"[su, frappe, -c, \"exec bench worker\"]":                     "su",
		"bash -c 'exec timeout --kill-after=5 3600 rq worker'":        "timeout -k",
		"timeout -k 5 3600 bench worker":                              "timeout -k",
		"bench worker\n    entrypoint: [bash, -c, 'bench worker', x]": "a shell",
	} {
		t.Run(command, func(t *testing.T) {
			_, report := loaded(t, withDatabase+"  jobs:\n    <<: *bench\n    command: "+command+"\n")
			want := "compose.worker-not-told main.yaml:15 service jobs starts its worker behind " + behind + ", which does not let it finish its job"
			if got := findings(report); len(got) != 1 || !strings.HasPrefix(got[0], want) || strings.Contains(behind, "shell") != strings.HasSuffix(got[0], "exec bench worker …") {
				t.Errorf("want %q, got:\n%s", want, strings.Join(got, "\n"))
			}
		})
	}
	for keys, want := range map[string]string{
		"hostname: jobs":                    "has hostname: jobs, and so another name at the queue",
		"network_mode: host":                "has network_mode: host",
		"network_mode: 'service:backend'":   "has network_mode: service:backend",
		"network_mode: 'container:vpn'":     "has network_mode: container:vpn",
		"uts: host":                         "has uts: host",
		"command: ./jobs.sh, hostname: one": "has hostname: one",
	} {
		t.Run(keys, func(t *testing.T) {
			command := "command: bench worker, "
			if strings.HasPrefix(keys, "command") {
				command = "labels: [erpnext-pipeline.role=worker], "
			}
			_, report := loaded(t, withDatabase+"  jobs: {<<: *bench, "+command+keys+"}\n  push: {<<: *bench, command: bench schedule, hostname: clock}\n")
			if got := findings(report); len(got) != 1 || !strings.HasPrefix(got[0], "compose.worker-hostname main.yaml:13 service jobs "+want) {
				t.Errorf("want %q, got:\n%s", want, strings.Join(got, "\n"))
			}
		})
	}
	for _, tc := range []struct {
		name, text, want string
	}{
		{"a backend that works off jobs", strings.Replace(withDatabase, "backend: {<<: *bench}", "backend: {<<: *bench, command: bench worker}", 1),
			"compose.role main.yaml:9 service backend answers visitors, and is to run jobs"},
		{"a frontend with another image", strings.Replace(withDatabase, "frontend: {<<: *bench, command: nginx-entrypoint.sh}", "frontend: {image: \"nginx:1.28\", healthcheck: *health}", 1),
			"compose.image main.yaml:10 service frontend is a part of the bench, and has the image nginx:1.28"},
		{"PostgreSQL", strings.Replace(withDatabase, "mariadb:10.11", "postgres:15-alpine", 1),
			"compose.postgres main.yaml:12 service db is for PostgreSQL"},
		{"PostgreSQL elsewhere", strings.Replace(withDatabase, "backend: {<<: *bench}", "backend: {<<: *bench, environment: {DB_TYPE: postgres}}", 1),
			"compose.postgres main.yaml:9 DB_TYPE of service backend is for PostgreSQL"},
		{"no database", smallest, "compose.service-missing main.yaml there is no service db; add the service, see compose-main.yaml; or name the server elsewhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report := loaded(t, tc.text)
			if got := findings(report); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.want) }) {
				t.Errorf("want %q, got:\n%s", tc.want, strings.Join(got, "\n"))
			}
		})
	}
}

// TestMigratesByItself: only a release migrates, behind a dump.
func TestMigratesByItself(t *testing.T) {
	const awaits = "\n  jobs: {<<: *bench, command: bench worker, depends_on: {migrator: {condition: service_completed_successfully}}}\n"
	for _, keys := range []string{
		"command: [bash, -c, \"bench --site all migrate\"]" + awaits,
		"entrypoint: [bash, -c]\n    command: ['if [ \"$$MIGRATE\" != \"\" ]; then\n      exit 0; fi; bench --site all migrate;']\n    healthcheck: {disable: true}\n",
		"command: bench --verbose --site erp.example.com migrate --skip-failing" + awaits,
		"command: [env/bin/python, -m, frappe.utils.bench_helper, frappe, --site, all, migrate]\n    labels: {erpnext-pipeline.role: web}\n",
		"image: 'frappe/erpnext:v15'\n    command: bench --site all migrate\n",
		"command: bash -c 'bench --site all migrate && exec gunicorn frappe.app:application'\n",
	} {
		_, report := loaded(t, withDatabase+"  migrator:\n    <<: *bench\n    "+keys)
		if got := findings(report); len(got) != 1 || !strings.HasPrefix(got[0], "compose.migrates main.yaml:1") || !strings.Contains(got[0], "service migrator migrates by itself") {
			t.Errorf("%s: %v", keys, got)
		}
	}
	mustLoad(t, withDatabase+"  migrator: {<<: *bench, command: bench --site all migrate, profiles: [by-hand]}\n")
	mustLoad(t, withDatabase+"  setup: {<<: *bench, command: bench --site all set-config migrate 1}\n  jobs: {<<: *bench, command: bench worker, depends_on: {setup: {condition: service_completed_successfully}}}\n")
	_, report := loaded(t, withDatabase+"  setup: {<<: *bench, command: nginx-entrypoint.sh, healthcheck: {disable: true}}\n")
	if len(report) != 1 || report[0].Code != "compose.healthcheck-missing" || !strings.Contains(report[0].Remedy, "not a migration") {
		t.Errorf("%v", findings(report))
	}
}

// TestProfiles: what a release needs is no part of a profile.
func TestProfiles(t *testing.T) {
	const profile = ", profiles: [prod]}\n"
	_, report := loaded(t, strings.NewReplacer(
		"backend: {<<: *bench}", "backend: {<<: *bench, environment: {REDIS_QUEUE: 'redis://:x@redis-queue:6379/1'}"+strings.TrimSuffix(profile, "\n"),
		"frontend: {<<: *bench,", "frontend: {<<: *bench, profiles: [prod], depends_on: [proxy],").Replace(smallest)+
		"  db: {image: 'mariadb:10.11', healthcheck: *health"+profile+
		"  jobs: {<<: *bench, command: bench worker"+profile+
		"  more: {<<: *bench, command: ./jobs.sh, labels: {erpnext-pipeline.role: scheduler}"+profile+
		"  proxy: {image: 'traefik:v3.7', healthcheck: *health"+profile+
		"  redis-queue: {image: 'redis:7.2', healthcheck: *health"+profile)
	var got []string
	for _, p := range report {
		name, _, _ := strings.Cut(strings.TrimPrefix(p.Detail, "service "), " ")
		got = append(got, p.Code+" "+name)
	}
	want := "compose.profile backend, compose.profile db, compose.profile frontend, compose.profile jobs, compose.profile more, compose.profile proxy, compose.profile redis-queue"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %v", findings(report))
	}
	// What is started by hand, and its own data, may have one.
	mustLoad(t, withDatabase+"  backup: {image: 'restic/restic:0.18.0', volumes: ['sites:/sites:ro'], depends_on: [backend]"+profile+
		"  console: {<<: *bench, command: bench --site all console, depends_on: [scratch], environment: {SCRATCH: 'scratch:6379', MODE: backup}"+profile+
		"  scratch: {image: 'redis:7.2'"+profile)
}

// TestDatabaseElsewhere: a set needs no database where it names one.
func TestDatabaseElsewhere(t *testing.T) {
	for name, configurator := range map[string]string{
		"by a variable":             "environment: [DB_HOST=sql.example.com, DB_PORT=3307]",
		"by a variable of Frappe":   "environment: {FRAPPE_DB_HOST: sql.example.com}",
		"by the configuration":      "environment: {EXTRA_CONFIG: '{\"db_host\": \"sql.example.com\"}'}",
		"by a command":              "entrypoint: [bash, -c]\n    command: [\"bench set-config -g db_host sql.example.com; bench set-config -gp db_port 3307\"]",
		"by another service's name": "environment: {DB_HOST: mariadb}",
	} {
		t.Run(name, func(t *testing.T) {
			extra := ""
			if strings.Contains(configurator, "mariadb") {
				extra = "  mariadb: {image: \"mariadb:10.11\", healthcheck: *health}\n"
			}
			mustLoad(t, smallest+extra+"  configurator:\n    <<: *bench\n    "+configurator+
				"\n  jobs: {<<: *bench, command: bench worker, depends_on: {configurator: {condition: service_completed_successfully}}}\n")
		})
	}
	set, report := loaded(t, smallest+"  sql: {image: \"registry.example.com/team/postgres:16\", healthcheck: *health}\n"+
		"  jobs: {<<: *bench, command: bench worker, environment: {DB_HOST: sql}}\n")
	if got := findings(report); len(got) != 1 || !strings.HasPrefix(got[0], "compose.postgres main.yaml:12 service sql is for PostgreSQL") {
		t.Errorf("%v: %v", set, got)
	}
	// One that is no site's is of no concern.
	mustLoad(t, withDatabase+"  metabase-db: {image: \"postgres:16\", healthcheck: *health}\n")
}

// TestDatabaseElsewhereOfOwnSet: the set that docs/deploy.md has for it.
func TestDatabaseElsewhereOfOwnSet(t *testing.T) {
	docs, err := os.ReadFile("../../docs/deploy.md")
	if err != nil {
		t.Fatal(err)
	}
	own, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var on []compose.File
	for i, block := range strings.Split(string(docs), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		name := fmt.Sprintf("example-%d.yaml", i)
		on = append(on, compose.File{Path: name, Name: name, Data: []byte(text)})
	}
	variables := values()
	variables["DB_HOST"] = "sql.example.com"
	set, report := compose.Load(context.Background(), "erp", append([]compose.File{{Path: "main.yaml", Name: "main.yaml", Data: own}}, on...), variables)
	if len(report) > 0 || len(on) != 2 || slices.Contains(set.Services, "db") || slices.Contains(set.Images, "mariadb:10.11") {
		t.Errorf("%v, %d examples: %+v", report.Err(), len(on), set)
	}
}

// TestNotBeside: what keeps two releases apart is known before a swap.
func TestNotBeside(t *testing.T) {
	base := told(withDatabase)
	if set := mustLoad(t, base+"  db2: {image: \"redis:7\", healthcheck: *health, container_name: cache, ports: [\"6379:6379\"]}\n"); len(set.NotBeside) > 0 {
		t.Errorf("a data service is not doubled: %v", findings(set.NotBeside))
	}
	for keys, want := range map[string]string{
		"container_name: jobs":                                      "has the container_name jobs",
		"network_mode: host":                                        "has network_mode: host",
		"network_mode: 'service:backend'":                           "has network_mode: service:backend",
		"ports: ['127.0.0.1:9100:9100']":                            "has port 9100 of the host",
		"networks: {default: {ipv4_address: 172.30.0.7}}":           "has a fixed address in the network default",
		"deploy: {replicas: 3}, ports: [{target: 80}], hostname: a": "",
	} {
		set := mustLoad(t, base+"  more: {<<: *bench, command: gunicorn more:application, "+keys+"}\n")
		got := findings(set.NotBeside)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], "compose.only-once main.yaml:13 service more "+want)) {
			t.Errorf("%s: %v", keys, got)
		}
	}
}

// TestHealthOfClosedSites: a check that fails while a site is closed would undo every
// release that closes it.
func TestHealthOfClosedSites(t *testing.T) {
	for test, refused := range map[string]bool{
		"[CMD, curl, --fail, 'http://localhost:8000/api/method/ping']":                                        true,
		"[CMD-SHELL, 'curl -sf -H \"Host: erp.example.com\" http://127.0.0.1:8080/ || exit 1']":               true,
		"curl -f localhost:8000/api/method/ping":                                                              true,
		"wget --spider -q http://frontend:8080":                                                               true,
		"[CMD, env/bin/python, -c, 'import urllib.request as u; u.urlopen(\"http://localhost:8000/login\")']": true,
		"[CMD, curl, --fail, 'http://localhost:8080/assets/frappe/images/frappe.svg']":                        false,
		"[CMD-SHELL, 'curl -s http://localhost:8000/api/method/ping | grep -q .']":                            false,
		"[CMD, curl, -f, 'http://localhost:9000/socket.io/?EIO=4&transport=polling']":                         false,
		"[CMD-SHELL, 'wait-for-it -t 1 localhost:8000']":                                                      false,
	} {
		_, report := loaded(t, strings.Replace(withDatabase, "backend: {<<: *bench}", "backend: {<<: *bench, healthcheck: {test: "+test+"}}", 1))
		got := findings(report)
		if refused != (len(got) == 1 && strings.HasPrefix(got[0], "compose.healthcheck-closed main.yaml:9 the health check of service backend asks the site")) || !refused && len(got) > 0 {
			t.Errorf("%s: %v", test, got)
		}
	}
}

// TestSharing: what outlives a release can't live in what does not.
func TestSharing(t *testing.T) {
	for _, key := range []string{"network_mode", "pid", "ipc"} {
		_, report := loaded(t, withDatabase+"  side: {image: 'example.com/side:1', healthcheck: *health, "+key+": 'service:frontend'}\n")
		want := "compose.shares main.yaml:13 service side has " + key + ": service:frontend, and every release replaces frontend, but not side"
		if got := findings(report); len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("want %q, got %v", want, got)
		}
	}
	mustLoad(t, withDatabase+"  exporter: {image: 'prom/mysqld-exporter:v0.17.2', healthcheck: *health, network_mode: 'service:db'}\n")
	mustLoad(t, withDatabase+"  more: {<<: *bench, command: gunicorn more:application, network_mode: 'service:backend'}\n")
	mustLoad(t, withDatabase+"  debug: {image: 'example.com/side:1', pid: 'service:backend', profiles: [by-hand]}\n")
}

// told returns a set with what tells its releases apart, on the lines that are
// there.
func told(text string) string {
	return strings.NewReplacer(
		"backend: {<<: *bench}", "backend: {<<: *bench, networks: {default: {aliases: ['backend-${RELEASE:-1}']}}}",
		"command: nginx-entrypoint.sh}", "command: nginx-entrypoint.sh, environment: ['BACKEND=backend-${RELEASE:-1}:8000', 'SOCKETIO=websocket-${RELEASE:-1}:9000'], labels: ['route=${RELEASE:-1}']}",
		"socketio.js]}", "socketio.js], networks: {default: {aliases: ['websocket-${RELEASE:-1}']}}}",
	).Replace(text)
}

// TestToldApart: with a swap, nothing of one release leads to the other.
func TestToldApart(t *testing.T) {
	const on, is = "compose.not-told-apart main.yaml:", " is the same in every release"
	for _, tc := range []struct {
		name, old, new string
		want           []string
	}{
		{"all is", "", "", nil},
		{"a name", "-${RELEASE:-1}']", "']", []string{on + "9 every name in the network of service backend" + is}},
		{"the address of the backend", "backend-${RELEASE:-1}:8000", "backend:8000", []string{on + "10 BACKEND of service frontend" + is}},
		{"the address of the websocket", "'SOCKETIO=websocket-${RELEASE:-1}:9000'", "'RELEASE=${RELEASE:-1}'", []string{on + "10 SOCKETIO of service frontend" + is}},
		{"the route", "route=${RELEASE:-1}", "route=1", []string{on + "10 the route of service frontend" + is}},
		{"the route, but for our own label", "route=${RELEASE:-1}", "erpnext-pipeline.release=${RELEASE:-1}", []string{on + "10 the route of service frontend" + is}},
	} {
		set := mustLoad(t, strings.Replace(told(withDatabase), tc.old, tc.new, 1))
		got := findings(set.NotBeside)
		if !slices.EqualFunc(got, tc.want, strings.HasPrefix) {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	set := mustLoad(t, withDatabase+"  jobs: {<<: *bench, command: bench worker, labels: ['release=${RELEASE:-1}']}\n")
	if len(set.NotBeside) != 5 {
		t.Errorf("only a worker has its number: %v", findings(set.NotBeside))
	}
}
