package e2e

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) brokenImage(t *testing.T) {
	u.changeApp("frappe", "payments", "version-15", "broken", "payments/hooks.py", "import nowhere_to_be_found")
	code, out, errs := u.run(u.command("push", "1.0.5", apps.Version1().With("payments", "broken"))...)
	if code != cli.ExitFailed || out != "" || !strings.Contains(errs, "every app imports") || !strings.Contains(errs, "nowhere_to_be_found") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	u.fails([]string{"deploy", "1.0.5", "--yes"}, cli.ExitUsage, "there is no")
}
