package e2e

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) checkFindsEverything(*testing.T) {
	u.fails(u.command("check", "0.0.1", apps.Version1().With("hrms", "v15.99.0").With("erpnext", "v14.0.0")), cli.ExitUsage,
		"hrms v15.99.0: no such tag, branch or commit in frappe/hrms", "erpnext v14.0.0: no such tag, branch or commit in frappe/erpnext", "nearest")
}

func (u *user) appsDoNotFit(*testing.T) {
	u.fails(u.command("build", "0.0.2", apps.Version1().With("misfit", "v1.0.1")), cli.ExitUsage, "misfit", "redis", "frappe")
}
