package archtest

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"

	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

// The workflows that another repository gets keep to what those here keep to.
func TestStartedWorkflows(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for name, test := range map[string]struct {
		tool        starter.Tool
		uses, takes string
	}{
		"release":           {starter.Tool{Version: "v1.2.3", Commit: commit}, "desiredeffect/erpnext-pipeline@" + commit + " # v1.2.3", "version: v1.2.3"},
		"installed release": {starter.Tool{Version: "v1.2.3"}, "desiredeffect/erpnext-pipeline@v1.2.3", "version: v1.2.3"},
		"a commit":          {starter.Tool{Version: "v1.2.4-0.20240101000000-0123456789ab", Commit: commit}, "desiredeffect/erpnext-pipeline@" + commit + " # not a release", ""},
		"no commit":         {starter.Tool{Version: "(devel)"}, "desiredeffect/erpnext-pipeline@main # moves; take the commit of a release", ""},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := starter.Workflows(test.tool, []string{"ACME_PAT", "DE_MACRS_PAT"})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, file := range files {
				names = append(names, path.Base(file.Path))
				checkStarted(t, file)
			}
			if want := []string{"deploy.yml", "release.yml", "hotfix.yml", "rollback.yml"}; !slices.Equal(names, want) {
				t.Errorf("the workflows are %q, want %q", names, want)
			}
			deploy := string(files[0].Text)
			for _, want := range []string{"        uses: " + test.uses + "\n", "          ACME_PAT: ${{ secrets.ACME_PAT }}\n", "          IMAGE_NAME: ${{ vars.IMAGE_NAME }}\n"} {
				if strings.Count(deploy, want) != 1 {
					t.Errorf("%s has %q %d times, want once", files[0].Path, want, strings.Count(deploy, want))
				}
			}
			if got := strings.Contains(deploy, "\n          version: "); got != (test.takes != "") || !strings.Contains(deploy, test.takes) {
				t.Errorf("%s does not take %q", files[0].Path, test.takes)
			}
			if n := strings.Count(deploy, "DE_MACRS_PAT: "); n != 1 {
				t.Errorf("DE_MACRS_PAT is handed over %d times", n)
			}
		})
	}
}

// checkStarted holds one workflow of another repository against the rules.
func checkStarted(t *testing.T, file starter.File) {
	t.Helper()
	problems, err := newLinter(t).Lint(file.Path, file.Text, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s:%d:%d: %s", file.Path, p.Line, p.Column, p.Message)
	}
	workflow, _ := actionlint.Parse(file.Text)
	if workflow == nil || workflow.Permissions == nil || len(workflow.Permissions.Scopes) != 1 {
		t.Fatalf("%s is no workflow, or may more than read", file.Path)
	}
	pinned := regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9-]+@[0-9a-f]{40}$`)
	for _, job := range workflow.Jobs {
		if job.WorkflowCall != nil && job.WorkflowCall.Uses.Value != deployCall {
			t.Errorf("%s calls %s, which gets no secrets of an environment from there", file.Path, job.WorkflowCall.Uses.Value)
		}
		for _, step := range job.Steps {
			switch exec := step.Exec.(type) {
			case *actionlint.ExecRun:
				if changes[step.Name.Value] == nil || !changes[step.Name.Value].MatchString(exec.Run.Value) {
					t.Errorf("%s:%d: step %q runs something else", file.Path, step.Pos.Line, step.Name.Value)
				}
			case *actionlint.ExecAction:
				own := strings.HasPrefix(exec.Uses.Value, "desiredeffect/erpnext-pipeline@")
				if !own && !pinned.MatchString(exec.Uses.Value) || secretEnv(step.Env) {
					t.Errorf("%s:%d: %s is not pinned, or gets secrets", file.Path, step.Pos.Line, exec.Uses.Value)
				}
			}
		}
	}
	for _, word := range []string{"tool-release.yml", "internal/archtest", ".pipeline", ":begin", ":end"} {
		if strings.Contains(string(file.Text), word) {
			t.Errorf("%s speaks of %s, which is in this repository alone", file.Path, word)
		}
	}
}
