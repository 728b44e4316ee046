package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

func (u *user) servicesEnd(t *testing.T) {
	u.alone(func() {
		// A page that is open does not hold the frontend.
		defer u.webSocket().Close()
		u.measureStops(t)
	})
	// And all of it comes back.
	u.onHost("sh", "-euc", `cd "$HOME/$0/current" && docker compose -p "$0" -f compose-main.yaml --env-file .env up --detach --wait --wait-timeout 300 2>&1 </dev/null`, sandbox.Project)
	// The proxy hears of containers a moment after they are healthy.
	u.eventually("ping after the start", u.ping)
}

func (u *user) measureStops(t *testing.T) {
	services := []string{"frontend", "websocket", "backend", "queue-short", "queue-long", "scheduler", "traefik", "page", "redis-cache", "redis-queue", "db"}
	out := u.onHost(append([]string{"sh", "-euc", `for service; do
		id=$(docker ps --quiet --filter "label=com.docker.compose.service=$service")
		begun=$(date +%s%3N)
		docker stop --time 60 "$id" >/dev/null
		echo "$service $(($(date +%s%3N) - begun)) $(docker inspect --format '{{.State.ExitCode}}' "$id")"
		done`, "end"}, services...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(services) {
		t.Fatalf("printed %q", out)
	}
	for _, line := range lines {
		var service string
		var milliseconds, code int
		if _, err := fmt.Sscan(line, &service, &milliseconds, &code); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		t.Logf("%s ended in %d ms with exit code %d", service, milliseconds, code)
		// Two seconds, and one for a machine that is busy. 137 is a kill.
		if milliseconds > 3000 || code == 137 {
			t.Errorf("%s ended after %d ms with exit code %d", service, milliseconds, code)
		}
	}
}
