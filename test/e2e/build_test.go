package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) onlyChangesAreBuilt(t *testing.T) {
	u.changeApp("desiredeffect", "de_customs", "v0.0.5", "one-line", "de_customs/reports.py", "CHANGED = True")
	_, _, errs := u.run(u.command("push", "1.0.7", apps.Version1().With("de_customs", "one-line"), "--skip-smoke-test")...)
	for line := range strings.Lines(errs) {
		if strings.Contains(line, `"took"`) && !strings.Contains(line, `"cached":true`) && !regexp.MustCompile(`"message":"((fetch|app) de_customs|push|bill of materials|resolved every.*)"`).MatchString(line) {
			t.Errorf("was built: %s", line)
		}
	}
	if !strings.Contains(errs, `"message":"app de_customs"`) {
		t.Errorf("de_customs was not built:\n%s", errs)
	}
	_, _, errs = u.run(u.command("push", "1.0.8", apps.Version1(), "--skip-smoke-test", "--no-cache=hrms")...)
	for _, name := range []string{"app hrms", "front hrms", "assets hrms"} {
		if !regexp.MustCompile(`"took":"[^"]+","time":"[^"]+","message":"` + name).MatchString(errs) {
			t.Errorf("--no-cache=hrms did not build %s anew:\n%s", name, errs)
		}
	}
}

func (u *user) buildAndLoad(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
		t.Skip("Docker does not run on this machine")
	}
	const tag = "desiredeffect/erpnext-custom:1.0.2"
	u.must(u.command("build", "1.0.2", apps.Version1(), "--load")...)
	out, err := exec.CommandContext(t.Context(), "docker", "images", "--format", "{{.Repository}}:{{.Tag}}", tag).Output()
	if err != nil || strings.TrimSpace(string(out)) != tag {
		t.Errorf("docker images shows %q, %v", out, err)
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "rmi", tag).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
