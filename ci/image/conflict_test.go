package image

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestWantsNamesTheApps(t *testing.T) {
	apps := []app{
		{App: release.App{Name: "frappe", Ref: "v15.17.3"}, project: project(t, "[project]\ndependencies = [\n  \"redis~=4.5.5\",\n  \"redis-lock==1.0\",\n]\n")},
		{App: release.App{Name: "wiki", Ref: "v2.0.1"}, legacy: "# old\nredis==3.5.3\n"},
		{App: release.App{Name: "payments", Ref: "version-15"}, project: project(t, "[project]\ndependencies = [\"stripe~=2.56.0\"]\n")},
	}
	got := whoWants("Because you require redis>=4.5.5,<4.6.dev0 and redis==3.5.3, your requirements are unsatisfiable.", apps)
	if want := "frappe v15.17.3 wants redis~=4.5.5, wiki v2.0.1 wants redis==3.5.3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConflict(t *testing.T) {
	list := []app{
		{App: release.App{Name: "frappe", Ref: "v15.17.3"}, project: project(t, "[project]\ndependencies = [\"redis~=4.5.5\"]\n")},
		{App: release.App{Name: "wiki", Ref: "v2.0.1"}, legacy: "redis==3.5.3\n"},
	}
	exec := &dagger.ExecError{ExitCode: 1, Stderr: "warning: x\n  × No solution found when resolving dependencies:\n  ╰─▶ Because you require redis>=4.5.5\n      and redis==3.5.3, your\n  │   requirements are unsatisfiable.\n"}
	err := conflict(fmt.Errorf("build packages: %w", withOutput(exec)), list)
	var report *problem.Error
	if !errors.As(err, &report) || len(report.Report) != 1 {
		t.Fatalf("got %v", err)
	}
	want := "Python packages: No solution found when resolving dependencies: Because you require redis>=4.5.5 and redis==3.5.3, your requirements are unsatisfiable.\n" +
		"frappe v15.17.3 wants redis~=4.5.5, wiki v2.0.1 wants redis==3.5.3"
	if p := report.Report[0]; p.Error() != want || p.Code != "image.packages-conflict" || !strings.HasPrefix(p.Remedy, "choose refs in apps.json") {
		t.Errorf("got %s: %s\nfix %s\nwant %s", p.Code, p, p.Remedy, want)
	}
	unbuilt := &dagger.ExecError{ExitCode: 1, Stderr: "error: Failed to build `redis==3.5.3`\n  cause: The build backend returned an error\n"}
	err = conflict(fmt.Errorf("build packages: %w", withOutput(unbuilt)), list)
	if !errors.As(err, &report) || report.Report[0].Error() != "Python package redis==3.5.3: can't be built, and frappe v15.17.3 wants redis~=4.5.5, wiki v2.0.1 wants redis==3.5.3:\n"+strings.TrimSpace(unbuilt.Stderr) {
		t.Errorf("a package that can't be built: %v", err)
	}
	report = nil
	other := &dagger.ExecError{ExitCode: 2, Stderr: "error: no network\n"}
	err = conflict(fmt.Errorf("build packages: %w", withOutput(other)), list)
	if errors.As(err, &report) || !errors.Is(err, other) || message(err) != "resolve Python packages: build packages: exit 2\nerror: no network" {
		t.Errorf("another failure: %v", err)
	}
}
