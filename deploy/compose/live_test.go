package compose_test

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

func TestLive(t *testing.T) {
	const digest = "sha256:aaaa"
	container := func(name, image, state, health string) compose.Container {
		service, _, _ := strings.Cut(strings.TrimPrefix(name, "erp-"), "-")
		return compose.Container{Name: name, Service: service, Image: image, State: state, Health: health}
	}
	one := container("erp-backend-1", "127.0.0.1:5000/erp@sha256:aaaa", "running", "healthy")
	for _, c := range []struct {
		name       string
		containers []compose.Container
		want       string
	}{
		{"none", nil, ""},
		{"another service", []compose.Container{container("erp-frontend-1", "erp@sha256:aaaa", "running", "healthy")}, ""},
		{"not running", []compose.Container{container("erp-backend-1", "erp@sha256:aaaa", "exited", "")}, ""},
		{"the only one is the second", []compose.Container{container("erp-backend-2", "erp@sha256:aaaa", "running", "healthy")}, "erp-backend-2"},
		{"a new one comes up beside it", []compose.Container{one, container("erp-backend-2", "erp@sha256:bbbb", "running", "starting")}, "erp-backend-1"},
		{"a new one is up, but not live", []compose.Container{container("erp-backend-1", "erp@sha256:aaaa", "running", "unhealthy"), container("erp-backend-2", "erp@sha256:bbbb", "running", "healthy")}, "erp-backend-1"},
		{"none has the live image", []compose.Container{container("erp-backend-1", "erp:1.0.0", "running", "unhealthy"), container("erp-backend-2", "erp:1.0.1", "running", "healthy")}, "erp-backend-2"},
	} {
		got, ok := compose.Live(c.containers, "backend", digest)
		if got.Name != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", c.name, got.Name, ok, c.want)
		}
	}
}

func TestCommandsOfTheEveryday(t *testing.T) {
	backend := compose.Container{Name: "erp-backend-2"}
	recorded := compose.Project{Name: "erp", Dir: "/srv/erp/current", Files: []string{"c.yaml"}}
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{
		{"exec", backend.Exec("bench", "--site", "a b", "migrate"), "docker|exec|--interactive|erp-backend-2|bench|--site|a b|migrate"},
		{"on a terminal", backend.ExecOnTerminal("xterm", "bash"), "docker|exec|--interactive|--tty|--env|TERM=xterm|erp-backend-2|bash"},
		{"logs", recorded.Read(compose.Reading{Tail: "100"}, "backend", "db"),
			"docker|compose|-p|erp|-f|/srv/erp/current/c.yaml|--env-file|/srv/erp/current/.env|logs|--no-color|--tail=100|--|backend|db"},
		{"logs of a project without a record", compose.Project{Name: "erp"}.Read(compose.Reading{Tail: "all", Since: "10m", Follow: true}),
			"docker|compose|-p|erp|logs|--no-color|--tail=all|--since=10m|--follow|--"},
	} {
		if got := strings.Join(c.got, "|"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
