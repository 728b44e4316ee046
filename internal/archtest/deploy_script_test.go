package archtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
)

// deployScript returns what the step of deploy.yml runs.
func deployScript(t *testing.T, name string) string {
	t.Helper()
	step, _ := deployStep(t, name)
	run, ok := step.Exec.(*actionlint.ExecRun)
	if !ok {
		t.Fatalf("%s: step %q runs no script", deployWorkflow, name)
	}
	return run.Run.Value
}

// The steps call the program as the inputs say, and end with its exit code.
func TestDeployScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	program := "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit \"$CODE\"\n"
	if err := os.WriteFile(filepath.Join(dir, "pipeline"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	release := []string{"release", "--yes", "--timeline", filepath.Join(dir, "timeline.html"), "--version"}
	rollback := []string{"rollback", "--yes", "--"}
	withData := []string{"rollback", "--yes", "--restore-data", "--"}
	for _, test := range []struct {
		name string
		step string
		env  []string
		code int
		want []string
	}{
		{"release by tag", releaseStep, []string{"COMMAND=release", "VERSION=site-v1.2.3"}, 0, append(release, "1.2.3")},
		{"release by a tag without a version", releaseStep, []string{"COMMAND=release", "VERSION=site-v"}, 2, nil},
		{"release without a version", releaseStep, []string{"COMMAND=release"}, 2, nil},
		{"release fails", releaseStep, []string{"COMMAND=release", "VERSION=site-v1.2.3-1"}, 3, append(release, "1.2.3-1")},
		{"hotfix", releaseStep, []string{"COMMAND=hotfix", "VERSION=1.1.5-1", "APP=hrms", "REF=fix it; $(id)"}, 4, append(release, "1.1.5-1", "--ref", "hrms=fix it; $(id)")},
		{"hotfix that migrates", releaseStep, []string{"COMMAND=hotfix", "VERSION=1.1.5-1", "APP=hrms", "REF=fix", "MIGRATE=--migrate"}, 0,
			append(release, "1.1.5-1", "--ref", "hrms=fix", "--migrate")},
		{"hotfix with a new site", releaseStep, []string{"COMMAND=hotfix", "VERSION=1.1.5-1", "APP=hrms", "REF=fix", "NEW_SITE=--new-site"}, 0,
			append(release, "1.1.5-1", "--ref", "hrms=fix", "--new-site")},
		{"rollback", rollbackStep, []string{}, 130, rollback},
		{"rollback to a version", rollbackStep, []string{"VERSION=1.1.4"}, 2, append(rollback, "1.1.4")},
		{"rollback with data", rollbackStep, []string{"VERSION=1.1.4", "RESTORE_DATA=--restore-data"}, 0, append(withData, "1.1.4")},
		{"rollback by tag", rollbackStep, []string{"VERSION=site-v1.1.4"}, 0, append(rollback, "1.1.4")},
		{"rollback with data to the release before", rollbackStep, []string{"RESTORE_DATA=--restore-data"}, 0, withData},
		{"rollback to a flag", rollbackStep, []string{"VERSION=--host=x"}, 2, append(rollback, "--host=x")},
		{"rollback to a tag without a version", rollbackStep, []string{"VERSION=site-v"}, 2, nil},
		{"another command", releaseStep, []string{"COMMAND=unlock", "VERSION=1.1.4"}, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			// As the runner starts it.
			cmd := exec.CommandContext(t.Context(), bash, "-e", "-c", deployScript(t, test.step))
			// An input that is not given is there, but empty.
			cmd.Env = append([]string{
				"PATH=" + dir + string(filepath.ListSeparator) + os.Getenv("PATH"), "RUNNER_TEMP=" + dir, "VERSION=", "APP=", "REF=", "MIGRATE=", "NEW_SITE=", "RESTORE_DATA=",
				"CODE=" + strconv.Itoa(test.code),
			}, test.env...)
			out, err := cmd.Output()
			code := 0
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			want := ""
			if test.want != nil {
				want = strings.Join(test.want, "\n") + "\n"
			}
			if string(out) != want {
				t.Errorf("the program was called with\n%swant\n%s", out, want)
			}
		})
	}
}
