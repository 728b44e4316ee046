package e2e

import (
	"regexp"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) planChangesNothing(t *testing.T) {
	out := u.must(u.command("plan", "1.0.0", apps.Version1())...)
	u.has(out, "Release 1.0.0", "v15.1.0", "up: bring the new release up")
	if left := u.onHost("docker", "ps", "--all", "--quiet"); left != "" {
		t.Errorf("containers on the host: %s", left)
	}
}

func (u *user) packagesMove(t *testing.T) {
	u.has(u.must(u.command("plan", "1.0.6", apps.Version1())...), "none moves")
	out := u.must(u.command("plan", "1.0.6", apps.Version1(), "--upgrade-packages=click")...)
	if !regexp.MustCompile(`of which move\n  click \S+ → \S+\n`).MatchString(out) {
		t.Errorf("plan with --upgrade-packages=click:\n%s", out)
	}
}
