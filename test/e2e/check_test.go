package e2e

import (
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) checkFindsEverything(*testing.T) {
	u.fails(u.command("check", "0.0.1", apps.Version1().With("hrms", "v15.99.0").With("erpnext", "v14.0.0")), cli.ExitUsage,
		"hrms v15.99.0: no such tag, branch or commit in frappe/hrms", "erpnext v14.0.0: no such tag, branch or commit in frappe/erpnext", "nearest")
}

func (u *user) appsDoNotFit(*testing.T) {
	// What the apps say of themselves is known before anything is built.
	without := slices.DeleteFunc(apps.Version1().With("misfit", "v1.0.0"), func(r apps.Ref) bool { return r.Name == "erpnext" })
	u.fails(u.command("check", "0.0.2", without), cli.ExitUsage, "hrms v15.1.0: its hooks.py requires the app erpnext, which is not there",
		"de_macrs v0.0.4: its hooks.py requires the app erpnext", "misfit v1.0.0: its pyproject.toml wants frappe >=16.0.0,<17.0.0, and v15.1.0 is 15.1.0")
	u.fails(u.command("build", "0.0.2", apps.Version1().With("misfit", "v1.0.1")), cli.ExitUsage, "misfit", "redis", "frappe")
}
