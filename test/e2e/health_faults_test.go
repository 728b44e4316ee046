package e2e

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// withUnhealthyBackend is the same user with a backend that never gets healthy.
func (s liveSite) withUnhealthyBackend() *user {
	return s.withOverride("unhealthy.yaml", "services:\n  backend:\n    healthcheck:\n      test: [CMD, \"false\"]\n      interval: 1s\n      retries: 2\n      start_period: 0s\n")
}

func (s liveSite) unhealthy(*testing.T) {
	s.withUnhealthyBackend().fails(deploy("3.2.0"), cli.ExitRolledBack,
		"step verify failed", "not all containers of 3.2.0 are well", "site: 2.0.0 is live again")
	s.asBefore()
}

func (s liveSite) unhealthySwap(*testing.T) {
	s.withUnhealthyBackend().fails(deploy("3.2.0", "--strategy", "swap"), cli.ExitFailed, "step start-new failed", "nothing was changed")
	s.asBefore()
}

func (s liveSite) noAssets(*testing.T) {
	s.withOverride("bare.yaml", "services:\n  frontend:\n    command: [sh, -c, \"rm -rf assets/*/dist; exec nginx-entrypoint.sh\"]\n").
		// The cache stays up, and has what the new release left there.
		withHooks("after-migrate", `docker exec "$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=redis-cache)" redis-cli set assets_json "of the new release"`).
		fails(deploy("3.2.0"), cli.ExitRolledBack, "step verify failed", "assets are missing: /assets/", "site: 2.0.0 is live again")
	s.asBefore()
}

func (s liveSite) databaseRefuses(*testing.T) {
	change := func(from, to string) {
		s.onHost("docker", "exec", s.container("backend"), "sed", "-i", `s/"db_password": "`+from+`/"db_password": "`+to+`/`, "sites/"+sandbox.Site+"/site_config.json")
	}
	change("", "not-")
	s.fails(deploy("3.2.0"), cli.ExitFailed, "step check failed", "Access denied", "nothing was changed")
	change("not-", "")
	s.asBefore()
}
