package compose_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

const digest = "127.0.0.1:5000/erp@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func values() map[string]string {
	return map[string]string{"IMAGE": digest, "SITE_NAME": "erp.example.com", "DB_ROOT_PASSWORD": "a", "ADMIN_PASSWORD": "b"}
}

func TestLoadOwnFiles(t *testing.T) {
	files, report := compose.ReadFiles([]string{"compose-main.yaml", "compose-bench.yaml"})
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	for _, tc := range []struct {
		name  string
		files []compose.File
		ports []int
	}{
		{"main alone", files[:1], []int{80}},
		{"with the bench on top, at one address alone", files, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set, report := compose.Load(context.Background(), "erp", tc.files, values())
			if len(report) > 0 {
				t.Fatal(report.Err())
			}
			if len(set.NotBeside) > 0 {
				t.Errorf("not for a swap: %v", set.NotBeside.Err())
			}
			services := "backend configurator create-site db frontend page queue-long queue-short redis-cache redis-queue scheduler traefik websocket"
			if got := strings.Join(set.Services, " "); got != services {
				t.Errorf("services: %s", got)
			}
			variables := "ADMIN_PASSWORD CLIENT_MAX_BODY_SIZE DB_HOST DB_PORT DB_ROOT_PASSWORD EXTRA_CONFIG FRAPPE_SITE_NAME_HEADER GUNICORN_THREADS GUNICORN_WORKERS HTTP_PORT IMAGE INSTALL_APPS PROXY_READ_TIMEOUT RELEASE RESTIC_PASSWORD RESTIC_REPOSITORY SITE_NAME"
			if got := strings.Join(set.Variables, " "); got != variables {
				t.Errorf("variables: %s", got)
			}
			if got := strings.Join(set.Images, " "); got != digest+" mariadb:10.11 nginx:1.28-alpine redis:7.2 traefik:v3.7" {
				t.Errorf("images: %s", got)
			}
			for name, role := range map[string]compose.Role{
				"backend": compose.Web, "frontend": compose.Web, "websocket": compose.Web, "queue-short": compose.Worker, "queue-long": compose.Worker,
				"scheduler": compose.Scheduler, "configurator": compose.Once, "create-site": compose.Once, "db": compose.Data, "traefik": compose.Data, "page": compose.Data,
			} {
				if set.Roles[name] != role {
					t.Errorf("%s is %q, want %q", name, set.Roles[name], role)
				}
			}
			if !slices.Equal(set.Ports, tc.ports) {
				t.Errorf("ports: %v, want %v", set.Ports, tc.ports)
			}
		})
	}
}

func TestLoadProblems(t *testing.T) {
	sound, err := os.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	with := func(extra string) string { return string(sound) + extra }
	replaced := func(old, new string) string {
		if !strings.Contains(string(sound), old) {
			t.Fatalf("compose-main.yaml has no %q", old)
		}
		return strings.Replace(string(sound), old, new, 1)
	}
	without := func(name string) map[string]string {
		v := values()
		delete(v, name)
		return v
	}
	line := func(text string) string {
		before, _, ok := strings.Cut(string(sound), text)
		if !ok {
			t.Fatalf("compose-main.yaml has no %q", text)
		}
		return itoa(strings.Count(before, "\n") + 1)
	}
	for _, tc := range []struct {
		name   string
		text   string
		values map[string]string
		want   string // code, subject and detail of one of the problems
	}{
		{"a tab", "services:\n\tdb:\n", values(), "compose.syntax main.yaml:2 "},
		{"not a mapping", "- db\n", values(), "compose.syntax main.yaml is empty or not a mapping"},
		{"a required variable is missing", with(""), without("SITE_NAME"),
			"compose.variable-missing main.yaml:" + line("SITE_NAME: ${SITE_NAME:?") + " refers to SITE_NAME, which has no value"},
		{"a secret is missing", with(""), without("DB_ROOT_PASSWORD"),
			"compose.variable-missing main.yaml:" + line("environment: DB_ROOT_PASSWORD") + " refers to DB_ROOT_PASSWORD, which has no value"},
		{"a variable without a default", replaced("traefik:v3.7", "traefik:${TRAEFIK}"), values(),
			"compose.variable-missing main.yaml:" + line("image: traefik:v3.7") + " refers to TRAEFIK, which has no value"},
		{"an unknown key", replaced("stop_grace_period: 2m", "stop_grace_periode: 2m"), values(),
			"compose.invalid main.yaml:" + line("stop_grace_period: 2m") + " validating main.yaml: services.db.stop_grace_periode: compose knows no such key"},
		{"an unknown dependency", replaced("      websocket:\n        condition: service_started", "      webserver:\n        condition: service_started"), values(),
			"compose.invalid main.yaml:" + line("  frontend:\n") + " service \"frontend\" depends on undefined service \"webserver\""},
		{"no frontend", "services:\n  backend: {image: \"${IMAGE}\", pull_policy: never, healthcheck: {test: [CMD, \"true\"]}}\n", values(),
			"compose.service-missing main.yaml there is no service frontend"},
		{"no health check", replaced("    healthcheck: &redis-health", "    x-healthcheck: &redis-health"), values(),
			"compose.healthcheck-missing main.yaml:" + line("  redis-queue:\n    image") + " service redis-queue has no health check, so a failure of it would not be noticed"},
		{"another image", replaced("image: ${IMAGE:?set by the pipeline to an image by its digest}", "image: frappe/erpnext:v15"), values(),
			"compose.image main.yaml:" + line("image: ${IMAGE:?") + " service backend has the image frappe/erpnext:v15, not the one of the release"},
		{"our image may be pulled", replaced("pull_policy: never", "pull_policy: always"), values(),
			"compose.pull-policy main.yaml:" + line("image: ${IMAGE:?") + " service backend may pull our image, which is on the host by its digest before anything stops"},
		{"a folder of this machine", replaced("- db-data:/var/lib/mysql", "- ./data:/var/lib/mysql"), values(),
			"compose.local-file main.yaml:" + line("    volumes:\n      - db-data") + " service db mounts ./data, which does not travel to the host"},
		{"a file with variables", replaced("    stop_grace_period: 2m", "    env_file: db.env"), values(),
			"compose.local-file main.yaml:" + line("    stop_grace_period: 2m") + " service db refers to another file with env_file, which does not travel to the host"},
		{"a build", replaced("    image: redis:7.2\n", "    image: redis:7.2\n    build: .\n"), values(),
			"compose.build main.yaml:" + plus(line("    image: redis:7.2\n"), 1) + " service redis-queue is built on the host; only finished images get there"},
		{"a secret in a file", replaced("environment: ADMIN_PASSWORD", "file: ./admin"), values(),
			"compose.local-file main.yaml:" + line("environment: ADMIN_PASSWORD") + " admin_password is read from a file, which does not travel to the host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report := compose.Load(context.Background(), "erp", []compose.File{{Path: "main.yaml", Name: "main.yaml", Data: []byte(tc.text)}}, tc.values)
			var got []string
			for _, p := range report {
				got = append(got, p.Code+" "+p.Subject+" "+p.Detail)
				if p.Remedy == "" {
					t.Errorf("%s has no remedy", p.Code)
				}
			}
			if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, tc.want) }) {
				t.Errorf("want %q, got:\n%s", tc.want, strings.Join(got, "\n"))
			}
		})
	}
}

// TestLocalFiles: what lies on the host, is in the set itself, or was taken out of
// it by a file on top, is no file that would have to travel.
func TestLocalFiles(t *testing.T) {
	base := "secrets:\n  key: {file: /opt/erp/key}\n  other: {file: ./key}\nconfigs: {page: {file: page.html}}" + withDatabase +
		"  jobs: {<<: *bench, command: bench worker, env_file: jobs.env}\n" +
		"  jobs-long: {extends: {service: jobs}, command: bench worker --queue long, env_file: [/opt/erp/jobs.env], volumes: ['/opt/erp:/opt/erp:ro']}\n" +
		"  jobs-more: {extends: jobs-long}\n"
	load := func(texts ...string) (*compose.Set, []string) {
		var files []compose.File
		for i, text := range texts {
			files = append(files, compose.File{Path: itoa(i) + ".yaml", Name: itoa(i) + ".yaml", Data: []byte(text)})
		}
		set, report := compose.Load(context.Background(), "erp", files, values())
		return set, findings(report)
	}
	_, got := load(base)
	if len(got) != 5 || !strings.Contains(strings.Join(got, "\n"), "other is read from a file") || strings.Contains(strings.Join(got, "\n"), "key is read") {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
	const without = "services:\n  jobs: {env_file: !reset null}\n  jobs-long: {env_file: !override [/opt/erp/jobs.env]}\n  jobs-more: {env_file: !reset null}\n" +
		"secrets: {other: !reset null}\nconfigs: {page: !override {content: Back soon}}\n"
	set, got := load(base, without)
	if len(got) > 0 || set.Roles["jobs-more"] != compose.Worker {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
	_, got = load(withDatabase + "  jobs: {extends: {file: jobs.yaml, service: jobs}}\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "compose.local-file 0.yaml:13 service jobs extends one of another file, jobs.yaml, which is not looked into") {
		t.Errorf("got:\n%s", strings.Join(got, "\n"))
	}
}

// TestPassedOn: a variable that a service only names is one of the set, however
// the files come to it.
func TestPassedOn(t *testing.T) {
	load := func(texts ...string) []string {
		var files []compose.File
		for i, text := range texts {
			files = append(files, compose.File{Path: itoa(i) + ".yaml", Name: itoa(i) + ".yaml", Data: []byte(text)})
		}
		set, report := compose.Load(context.Background(), "erp", files, values())
		if len(report) > 0 {
			t.Fatal(report.Err())
		}
		return set.Variables
	}
	base := "x-list: &list [CF_TOKEN, COMPOSE_PROJECT_NAME, A=1]\nx-map: &map {SMTP_PASSWORD: }" + withDatabase
	base = strings.Replace(base, "backend: {<<: *bench}", "backend: {<<: *bench, environment: {<<: *map, B: 1}}", 1) +
		"  traefik: {image: 'traefik:v3.7', healthcheck: *health, environment: *list}\n" +
		"  cache: {image: 'redis:7.2', healthcheck: *health, environment: [CACHE_PASSWORD, KNOWN]}\n"
	on := "services: {cache: {environment: [X=1, KNOWN=here]}}\n"
	if got := strings.Join(load(base, on), " "); got != "CACHE_PASSWORD CF_TOKEN IMAGE SMTP_PASSWORD" {
		t.Errorf("got %s", got)
	}
	if got := strings.Join(load(base), " "); got != "CACHE_PASSWORD CF_TOKEN IMAGE KNOWN SMTP_PASSWORD" {
		t.Errorf("got %s", got)
	}
}

func TestReadFiles(t *testing.T) {
	_, report := compose.ReadFiles([]string{"compose-main.yaml", "../compose/compose-main.yaml", "gone.yaml"})
	var got []string
	for _, p := range report {
		got = append(got, p.Code+" "+p.Subject)
	}
	if strings.Join(got, ", ") != "compose.file-name ../compose/compose-main.yaml, compose.file-unreadable gone.yaml" {
		t.Errorf("got %v", got)
	}
}
