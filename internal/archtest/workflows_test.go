package archtest

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"

	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

const workflowDir = "../../.github/workflows"

// readWorkflows gives the workflows by the names of their files.
func readWorkflows(t *testing.T) map[string]*actionlint.Workflow {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(workflowDir, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	workflows := map[string]*actionlint.Workflow{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		workflow, problems := actionlint.Parse(data)
		for _, p := range problems {
			t.Errorf("%s: %v", path, p)
		}
		workflows[filepath.Base(path)] = workflow
	}
	for _, name := range []string{"ci.yml", "hotfix.yml", "release.yml", "rollback.yml"} {
		if workflows[name] == nil {
			t.Fatalf("%s is missing", name)
		}
	}
	return workflows
}

// releasing are the workflows that release, and changing all that change a
// host.
var (
	releasing = []string{"hotfix.yml", "release.yml"}
	changing  = append([]string{"rollback.yml"}, releasing...)
)

func TestWorkflowsPassActionlint(t *testing.T) {
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name := range readWorkflows(t) {
		problems, err := linter.LintFile(filepath.Join(workflowDir, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s:%d:%d: %s", name, p.Line, p.Column, p.Message)
		}
	}
}

// A tag can be moved to other code; a commit can't.
func TestWorkflowsPinActions(t *testing.T) {
	uses := regexp.MustCompile(`^\s*(- )?uses:`)
	pinned := regexp.MustCompile(`^\s*(- )?uses: [a-z0-9-]+/[a-z0-9-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	found := map[string]string{}
	for name := range readWorkflows(t) {
		data, err := os.ReadFile(filepath.Join(workflowDir, name))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			if !uses.MatchString(line) {
				continue
			}
			if !pinned.MatchString(line) {
				t.Errorf("%s:%d: %s: pin the action by its full commit, with the version as a comment", name, i+1, strings.TrimSpace(line))
			}
			action, commit, _ := strings.Cut(strings.TrimSpace(line), "@")
			if other, again := found[action]; again && other != commit {
				t.Errorf("%s:%d: %s is pinned to %s here and to %s elsewhere", name, i+1, action, commit, other)
			}
			found[action] = commit
		}
	}
	if len(found) == 0 {
		t.Error("no action was found: does the test still look for the right lines?")
	}
}

func TestWorkflowsMayOnlyRead(t *testing.T) {
	for name, workflow := range readWorkflows(t) {
		if workflow.Permissions == nil {
			t.Errorf("%s has no permissions, so it gets the repository's default", name)
			continue
		}
		all := []*actionlint.Permissions{workflow.Permissions}
		for _, job := range workflow.Jobs {
			if job.Permissions != nil {
				all = append(all, job.Permissions)
			}
		}
		for _, p := range all {
			if p.All != nil {
				t.Errorf("%s:%d: permissions %s: name the scopes", name, p.Pos.Line, p.All.Value)
			}
			for scope, permission := range p.Scopes {
				if scope != "contents" || permission.Value.Value != "read" {
					t.Errorf("%s:%d: permission %s: %s, want contents: read and nothing else", name, p.Pos.Line, scope, permission.Value.Value)
				}
			}
		}
	}
}

// An expression is put into a script before the shell reads it: an input with
// a quote in it would be run.
func TestWorkflowScriptsHaveNoExpressions(t *testing.T) {
	scripts := 0
	for name, workflow := range readWorkflows(t) {
		for _, job := range workflow.Jobs {
			for _, step := range job.Steps {
				run, ok := step.Exec.(*actionlint.ExecRun)
				if !ok {
					continue
				}
				scripts++
				if strings.Contains(run.Run.Value, "${{") {
					t.Errorf("%s:%d: an expression in a script: hand it over in env", name, run.Run.Pos.Line)
				}
			}
		}
	}
	if scripts == 0 {
		t.Error("no script was found")
	}
}

func TestWorkflowJobsEnd(t *testing.T) {
	for name, workflow := range readWorkflows(t) {
		for id, job := range workflow.Jobs {
			if job.TimeoutMinutes == nil {
				t.Errorf("%s: job %s has no timeout-minutes", name, id)
			}
		}
	}
}

// changes is what a step runs that changes a host.
var changes = regexp.MustCompile(`^go run \./cmd/pipeline (release|rollback) --yes `)

// Only the step that changes a host sees secrets, and checkout leaves no token.
func TestWorkflowSecretsReachOneStep(t *testing.T) {
	secret := func(env *actionlint.Env) bool {
		if env == nil {
			return false
		}
		for _, v := range env.Vars {
			if strings.Contains(v.Value.Value, "secrets.") || strings.Contains(v.Value.Value, "github.token") {
				return true
			}
		}
		return env.Expression != nil
	}
	for name, workflow := range readWorkflows(t) {
		if secret(workflow.Env) {
			t.Errorf("%s: secrets in the environment of the workflow", name)
		}
		for id, job := range workflow.Jobs {
			if secret(job.Env) {
				t.Errorf("%s: secrets in the environment of job %s", name, id)
			}
			for _, step := range job.Steps {
				switch exec := step.Exec.(type) {
				case *actionlint.ExecRun:
					if secret(step.Env) && !changes.MatchString(exec.Run.Value) {
						t.Errorf("%s:%d: secrets in a step that neither releases nor goes back", name, step.Pos.Line)
					}
				case *actionlint.ExecAction:
					if secret(step.Env) {
						t.Errorf("%s:%d: secrets in the environment of an action", name, step.Pos.Line)
					}
					if strings.HasPrefix(exec.Uses.Value, "actions/checkout@") {
						if keep := exec.Inputs["persist-credentials"]; keep == nil || keep.Value.Value != "false" {
							t.Errorf("%s:%d: checkout without persist-credentials: false leaves the token in .git/config", name, step.Pos.Line)
						}
					}
				}
			}
		}
	}
}

// Two releases of one environment must not overlap, and none may be cut off.
func TestReleasesRunOneAtATime(t *testing.T) {
	workflows := readWorkflows(t)
	for _, name := range changing {
		c := workflows[name].Concurrency
		if c == nil || c.CancelInProgress == nil || c.CancelInProgress.Value || c.CancelInProgress.Expression != nil {
			t.Errorf("%s: want a concurrency group with cancel-in-progress: false", name)
			continue
		}
		for id, job := range workflows[name].Jobs {
			if job.Environment == nil {
				t.Errorf("%s: job %s has no environment", name, id)
				continue
			}
			environment := job.Environment.Name.Value
			if got, want := c.Group.Value, "release-"+environment; got != want {
				t.Errorf("%s: job %s: the concurrency group is %q, want %q, so that all releases of the environment share it", name, id, got, want)
			}
		}
	}
}

// What the configuration knows, the workflows hand over: secrets from secrets,
// the rest from variables.
func TestReleasesGetTheWholeConfiguration(t *testing.T) {
	elsewhere := map[string]string{
		"DE_SITE_VERSION":         "comes from the tag or the input",
		"APPS_FILE":               "is the repository's",
		"GITHUB_API_URL":          "is set by GitHub Actions",
		"DEPLOY_SSH_KEY_FILE":     "is a file on a person's machine",
		"DEPLOY_KNOWN_HOSTS_FILE": "is a file on a person's machine",
		"SIGNING_KEY_FILE":        "is a file on a person's machine",
	}
	workflows := readWorkflows(t)
	for _, name := range releasing {
		for _, job := range workflows[name].Jobs {
			env := map[string]string{}
			for _, step := range job.Steps {
				if step.Env != nil {
					for _, v := range step.Env.Vars {
						env[v.Name.Value] = v.Value.Value
					}
				}
			}
			known := map[string]bool{}
			for _, k := range config.Schema() {
				names := []string{k.Name}
				if k.Alias != "" {
					names = append(names, k.Alias)
				}
				for _, key := range names {
					known[key] = true
					want := "${{ vars." + key + " }}"
					switch {
					case elsewhere[key] != "":
						want = ""
					case key == "GITHUB_TOKEN":
						want = "${{ github.token }}"
					case k.Secret:
						want = "${{ secrets." + key + " }}"
					}
					if env[key] != want {
						t.Errorf("%s: %s is %q, want %q", name, key, env[key], want)
					}
				}
			}
			for key, value := range env {
				if !known[key] && !strings.HasPrefix(value, "${{ inputs.") {
					t.Errorf("%s: %s is no key of the configuration", name, key)
				}
			}
		}
	}
}
