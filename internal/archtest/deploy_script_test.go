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

// deployScript returns what the step runs that changes a host.
func deployScript(t *testing.T) string {
	t.Helper()
	for _, job := range readWorkflows(t)[deployWorkflow].Jobs {
		for _, step := range job.Steps {
			if run, ok := step.Exec.(*actionlint.ExecRun); ok && changes.MatchString(run.Run.Value) {
				return run.Run.Value
			}
		}
	}
	t.Fatalf("%s has no step that changes a host", deployWorkflow)
	return ""
}

// The step calls the program as the inputs say, and ends with its exit code.
func TestDeployScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	script := deployScript(t)
	dir := t.TempDir()
	program := "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit \"$CODE\"\n"
	if err := os.WriteFile(filepath.Join(dir, "pipeline"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	release := []string{"release", "--yes", "--timeline", filepath.Join(dir, "timeline.html"), "--version"}
	rollback := []string{"rollback", "--yes"}
	for _, test := range []struct {
		name string
		env  []string
		code int
		want []string
	}{
		{"release by tag", []string{"COMMAND=release", "VERSION=site-v1.2.3"}, 0, append(release, "1.2.3")},
		{"release fails", []string{"COMMAND=release", "VERSION=site-v1.2.3-1"}, 3, append(release, "1.2.3-1")},
		{"hotfix", []string{"COMMAND=hotfix", "VERSION=1.1.5-1", "APP=hrms", "REF=fix it; $(id)"}, 4, append(release, "1.1.5-1", "--ref", "hrms=fix it; $(id)")},
		{"rollback", []string{"COMMAND=rollback"}, 130, rollback},
		{"rollback to a version", []string{"COMMAND=rollback", "VERSION=1.1.4"}, 2, append(rollback, "1.1.4")},
		{"rollback with data", []string{"COMMAND=rollback", "VERSION=1.1.4", "RESTORE_DATA=--restore-data"}, 0, append(rollback, "--restore-data", "1.1.4")},
		{"another command", []string{"COMMAND=unlock", "VERSION=1.1.4"}, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			// As the runner starts it.
			cmd := exec.CommandContext(t.Context(), bash, "-e", "-c", script)
			// An input that is not given is there, but empty.
			cmd.Env = append([]string{
				"PATH=" + os.Getenv("PATH"), "RUNNER_TEMP=" + dir, "VERSION=", "APP=", "REF=", "RESTORE_DATA=",
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
