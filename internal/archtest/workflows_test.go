package archtest

import (
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

var update = flag.Bool("update", false, "write the env of deploy.yml anew")

const (
	workflowDir = "../../.github/workflows"
	// deployWorkflow changes a host; the others call it as deployCall.
	deployWorkflow = "deploy.yml"
	deployCall     = "./.github/workflows/" + deployWorkflow
	// ownAction is this repository's, where deploy.yml checks it out.
	ownAction = "./.pipeline"
	// toolWorkflow releases the tool.
	toolWorkflow = "tool-release.yml"
	// upstreamWorkflow builds what upstream has, and opens an issue.
	upstreamWorkflow = "upstream.yml"
)

// changing are the workflows that change a host.
var changing = []string{"hotfix.yml", "release.yml", "rollback.yml"}

// readWorkflows returns the workflows by the names of their files.
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
	for _, name := range append([]string{"ci.yml", deployWorkflow, toolWorkflow, upstreamWorkflow}, changing...) {
		if workflows[name] == nil {
			t.Fatalf("%s is missing", name)
		}
	}
	return workflows
}

// newLinter returns actionlint, which does not know yet that the context job says
// where a called workflow is from.
func newLinter(t *testing.T) *actionlint.Linter {
	t.Helper()
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{
		IgnorePatterns: []string{`^property "workflow_(ref|sha|repository)" is not defined in object type \{container: `},
	})
	if err != nil {
		t.Fatal(err)
	}
	return linter
}

func TestWorkflowsPassActionlint(t *testing.T) {
	linter := newLinter(t)
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
	paths := map[string]string{actionFile: filepath.Join(root, actionFile)}
	for name := range readWorkflows(t) {
		paths[name] = filepath.Join(workflowDir, name)
	}
	for name, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			if !uses.MatchString(line) || strings.TrimSpace(line) == "uses: "+deployCall ||
				name == deployWorkflow && strings.TrimSpace(line) == "uses: "+ownAction {
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
		check := func(p *actionlint.Permissions, want string) {
			if p.All != nil {
				t.Errorf("%s:%d: permissions %s: name the scopes", name, p.Pos.Line, p.All.Value)
			}
			for scope, permission := range p.Scopes {
				if scope != "contents" || permission.Value.Value != want {
					t.Errorf("%s:%d: permission %s: %s, want contents: %s and nothing else", name, p.Pos.Line, scope, permission.Value.Value, want)
				}
			}
		}
		check(workflow.Permissions, "read")
		for id, job := range workflow.Jobs {
			switch {
			case name == toolWorkflow && id == "release":
				// It makes a release of the repository.
				if job.Permissions == nil {
					t.Errorf("%s: job %s may not make a release", name, id)
					continue
				}
				check(job.Permissions, "write")
			case name == upstreamWorkflow:
				// It opens an issue.
				if issues := job.Permissions.Scopes["issues"]; issues == nil || issues.Value.Value != "write" {
					t.Errorf("%s: job %s may not open an issue", name, id)
				}
				delete(job.Permissions.Scopes, "issues")
				check(job.Permissions, "read")
			case job.Permissions != nil:
				check(job.Permissions, "read")
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
			// A job that calls deploy.yml ends when the jobs of that one do.
			if job.TimeoutMinutes == nil && job.WorkflowCall == nil {
				t.Errorf("%s: job %s has no timeout-minutes", name, id)
			}
		}
	}
}

// The steps of deploy.yml that change a host, by their names.
const (
	releaseStep  = "Release"
	rollbackStep = "Go back"
)

// changes is all that these steps may run: the program takes the shell's place,
// so that its exit code and a cancelled run arrive.
var changes = map[string]*regexp.Regexp{
	releaseStep: regexp.MustCompile(`^version=\$\{VERSION#site-v\}
if \[ -z "\$version" \]; then echo "no version in: \$VERSION" >&2; exit 2; fi
case "\$COMMAND" in
(  [a-z]+\) exec pipeline (deploy|release) --yes [^;&|\n]* ;;\n)+` +
		`  \*\) echo "unknown command: \$COMMAND" >&2; exit 2 ;;
esac
$`),
	rollbackStep: regexp.MustCompile(`^version=\$\{VERSION#site-v\}
if \[ -n "\$VERSION" \] && \[ -z "\$version" \]; then echo "no version in: \$VERSION" >&2; exit 2; fi
exec pipeline rollback --yes [^;&|\n]* -- [^;&|\n]*
$`),
}

// deployStep returns the step of deploy.yml that has the name, and its env.
func deployStep(t *testing.T, name string) (*actionlint.Step, map[string]string) {
	t.Helper()
	var found []*actionlint.Step
	for _, job := range readWorkflows(t)[deployWorkflow].Jobs {
		for _, step := range job.Steps {
			if step.Name != nil && step.Name.Value == name {
				found = append(found, step)
			}
		}
	}
	if len(found) != 1 || found[0].Env == nil {
		t.Fatalf("%s has %d steps %q, want one, with an env", deployWorkflow, len(found), name)
	}
	env := map[string]string{}
	for _, v := range found[0].Env.Vars {
		env[v.Name.Value] = v.Value.Value
	}
	return found[0], env
}

// secret reports whether the text has credentials in it.
func secret(text string) bool {
	return regexp.MustCompile(`\bsecrets\b|\bgithub\.token\b|\btoJSON\b`).MatchString(text)
}

// secretEnv reports whether the environment has credentials in it.
func secretEnv(env *actionlint.Env) bool {
	if env == nil {
		return false
	}
	for _, v := range env.Vars {
		if secret(v.Value.Value) {
			return true
		}
	}
	return env.Expression != nil
}

// Only the steps that change a host see secrets, and the one that releases the
// tool its token; checkout leaves none.
func TestWorkflowSecretsReachFewSteps(t *testing.T) {
	var steps []string
	for name, workflow := range readWorkflows(t) {
		if secretEnv(workflow.Env) {
			t.Errorf("%s: secrets in the environment of the workflow", name)
		}
		for id, job := range workflow.Jobs {
			if secretEnv(job.Env) {
				t.Errorf("%s: secrets in the environment of job %s", name, id)
			}
			if call := job.WorkflowCall; call != nil {
				if call.Uses.Value != deployCall || !slices.Contains(changing, name) {
					t.Errorf("%s: job %s calls %s", name, id, call.Uses.Value)
				}
				if !call.InheritSecrets {
					t.Errorf("%s: job %s does not hand over the secrets", name, id)
				}
				for key, input := range call.Inputs {
					if secret(input.Value.Value) {
						t.Errorf("%s: job %s: secrets in the input %s", name, id, key)
					}
				}
			}
			for _, step := range job.Steps {
				called := ""
				if step.Name != nil {
					called = step.Name.Value
				}
				if secretEnv(step.Env) {
					steps = append(steps, name+": "+called)
				}
				switch exec := step.Exec.(type) {
				case *actionlint.ExecRun:
					if secretEnv(step.Env) && !changesHost(name, called, exec.Run.Value) && !looksUpstream(name, called, step, exec.Run.Value) {
						t.Errorf("%s:%d: secrets in a step that neither releases nor goes back", name, step.Pos.Line)
					}
				case *actionlint.ExecAction:
					if secretEnv(step.Env) && !releasesTool(name, id, step) {
						t.Errorf("%s:%d: secrets in the environment of an action", name, step.Pos.Line)
					}
					for key, input := range exec.Inputs {
						if secret(input.Value.Value) {
							t.Errorf("%s:%d: secrets in the input %s of an action", name, step.Pos.Line, key)
						}
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
	slices.Sort(steps)
	if want := []string{deployWorkflow + ": " + rollbackStep, deployWorkflow + ": " + releaseStep, toolWorkflow + ": Release", upstreamWorkflow + ": Build", upstreamWorkflow + ": Say so"}; !slices.Equal(steps, want) {
		t.Errorf("steps with secrets: %q, want %q", steps, want)
	}
}

// changesHost reports whether the script is that of the step that changes a
// host, and nothing else.
func changesHost(workflow, step, script string) bool {
	return workflow == deployWorkflow && changes[step] != nil && changes[step].MatchString(script)
}

// looksUpstream reports whether the step is one that builds what upstream has, with
// the apps' tokens, or that opens an issue, with the job's own.
func looksUpstream(workflow, name string, step *actionlint.Step, script string) bool {
	var secrets []string
	for _, v := range step.Env.Vars {
		if secret(v.Value.Value) {
			secrets = append(secrets, v.Name.Value+" "+v.Value.Value)
		}
	}
	slices.Sort(secrets)
	switch {
	case workflow != upstreamWorkflow || step.Env.Expression != nil:
		return false
	case name == "Build":
		return strings.HasSuffix(script, "\nset -o pipefail\n\"$RUNNER_TEMP/pipeline\" push --version 0.0.0 2>&1 | tee \"$RUNNER_TEMP/log\"\n") && strings.Count(script, "RUNNER_TEMP") == 2 && slices.Equal(secrets, []string{
			"DE_MACRS_PAT ${{ secrets.DE_MACRS_PAT }}", "GITHUB_TOKEN ${{ github.token }}", "PAT_DESIRED_EFFECT ${{ secrets.PAT_DESIRED_EFFECT }}"})
	}
	return name == "Say so" && strings.HasPrefix(script, "set -o pipefail\n") && !strings.Contains(script, "pipeline") && slices.Equal(secrets, []string{"GH_TOKEN ${{ github.token }}"})
}

// A run either releases or goes back, and no other step is handed anything.
func TestDeployReleasesOrGoesBack(t *testing.T) {
	for _, job := range readWorkflows(t)[deployWorkflow].Jobs {
		for _, step := range job.Steps {
			if step.Env != nil && (step.Name == nil || changes[step.Name.Value] == nil) {
				t.Errorf("%s:%d: the step has an env", deployWorkflow, step.Pos.Line)
			}
		}
	}
	for name, want := range map[string]string{
		releaseStep:  "inputs.command != 'rollback'",
		rollbackStep: "inputs.command == 'rollback'",
	} {
		if step, _ := deployStep(t, name); step.If == nil || step.If.Value != want {
			t.Errorf("%s: step %q does not have if: %s", deployWorkflow, name, want)
		}
	}
}

// releasesTool reports whether the step is the one that makes a release of the
// tool, with the job's own token and no other secret.
func releasesTool(name, job string, step *actionlint.Step) bool {
	exec, ok := step.Exec.(*actionlint.ExecAction)
	if !ok || name != toolWorkflow || job != "release" || step.Env.Expression != nil ||
		!strings.HasPrefix(exec.Uses.Value, "goreleaser/goreleaser-action@") {
		return false
	}
	for _, v := range step.Env.Vars {
		if secret(v.Value.Value) && (v.Name.Value != "GITHUB_TOKEN" || v.Value.Value != "${{ github.token }}") {
			return false
		}
	}
	return true
}

// Two releases of one environment must not overlap, and none may be cut off.
// The group stands in the one workflow that all of them call; a caller in the
// same group would wait for itself.
func TestReleasesRunOneAtATime(t *testing.T) {
	workflows := readWorkflows(t)
	deploy := workflows[deployWorkflow]
	if deploy.Concurrency != nil {
		t.Errorf("%s: want the concurrency group at the job", deployWorkflow)
	}
	for id, job := range deploy.Jobs {
		c := job.Concurrency
		if c == nil || c.CancelInProgress == nil || c.CancelInProgress.Value || c.CancelInProgress.Expression != nil {
			t.Errorf("%s: job %s: want a concurrency group with cancel-in-progress: false", deployWorkflow, id)
			continue
		}
		if job.Environment == nil {
			t.Errorf("%s: job %s has no environment", deployWorkflow, id)
			continue
		}
		environment := job.Environment.Name.Value
		if want := "${{ inputs.environment }}"; environment != want {
			t.Errorf("%s: job %s: the environment is %q, want %q", deployWorkflow, id, environment, want)
		}
		if got, want := c.Group.Value, "release-"+environment; got != want {
			t.Errorf("%s: job %s: the concurrency group is %q, want %q, so that all releases of the environment share it", deployWorkflow, id, got, want)
		}
	}
	for _, name := range changing {
		if workflows[name].Concurrency != nil {
			t.Errorf("%s: a concurrency group: it stands in %s", name, deployWorkflow)
		}
		if len(workflows[name].Jobs) != 1 {
			t.Errorf("%s has %d jobs, want the one that calls %s", name, len(workflows[name].Jobs), deployWorkflow)
		}
		for id, job := range workflows[name].Jobs {
			switch call := job.WorkflowCall; {
			case job.Concurrency != nil:
				t.Errorf("%s: job %s: a concurrency group: it stands in %s", name, id, deployWorkflow)
			case call == nil || call.Uses.Value != deployCall:
				t.Errorf("%s: job %s does not call %s", name, id, deployWorkflow)
			case call.Inputs["environment"] == nil:
				t.Errorf("%s: job %s names no environment", name, id)
			case call.Inputs["command"] == nil || call.Inputs["command"].Value.Value+".yml" != name:
				t.Errorf("%s: job %s: want the command of the workflow's name", name, id)
			}
		}
	}
}

// A tag either releases the site or the tool: a pattern has to match the whole
// name of a tag, and no name begins both with "site-v" and with "v".
func TestTagsReleaseEitherSiteOrTool(t *testing.T) {
	startedBy := map[string][]string{
		deployWorkflow: {"workflow_dispatch", "workflow_call"},
		"hotfix.yml":   {"workflow_dispatch"},
		"rollback.yml": {"workflow_dispatch"},
		"release.yml":  {"push"},
		toolWorkflow:   {"push"},

		upstreamWorkflow: {"schedule", "workflow_dispatch"},
	}
	// What follows must be no quantifier of the last letter.
	patterns := map[string]*regexp.Regexp{
		"release.yml": regexp.MustCompile(`^site-v[^?+]`),
		toolWorkflow:  regexp.MustCompile(`^v[^?+]`),
	}
	for name, workflow := range readWorkflows(t) {
		var events []string
		for _, event := range workflow.On {
			events = append(events, event.EventName())
			push, ok := event.(*actionlint.WebhookEvent)
			if !ok || push.EventName() != "push" {
				continue
			}
			if pattern := patterns[name]; pattern == nil {
				if push.Branches.IsEmpty() || !push.Tags.IsEmpty() || !push.TagsIgnore.IsEmpty() {
					t.Errorf("%s runs for pushed tags", name)
				}
			} else {
				if push.Tags.IsEmpty() || !push.Branches.IsEmpty() || !push.BranchesIgnore.IsEmpty() || !push.TagsIgnore.IsEmpty() {
					t.Errorf("%s does not run for tags alone", name)
					continue
				}
				for _, tag := range push.Tags.Values {
					if !pattern.MatchString(tag.Value) {
						t.Errorf("%s runs for tags %q, want only such as %s", name, tag.Value, pattern)
					}
				}
			}
		}
		if want := startedBy[name]; want != nil && !slices.Equal(events, want) {
			t.Errorf("%s is started by %v, want %v", name, events, want)
		}
	}
}

// What is chosen when a run is started by hand reaches the called workflow; a
// tag releases to production.
func TestDeployGetsTheInputs(t *testing.T) {
	handed := map[string]map[string]string{
		"hotfix.yml":   {"command": "hotfix"},
		"rollback.yml": {"command": "rollback"},
		"release.yml":  {"command": "release", "version": "${{ github.ref_name }}", "environment": "production"},
	}
	workflows := readWorkflows(t)
	for _, name := range changing {
		want := handed[name]
		for _, event := range workflows[name].On {
			if dispatch, ok := event.(*actionlint.WorkflowDispatchEvent); ok {
				for input := range dispatch.Inputs {
					want[input] = "${{ inputs." + input + " }}"
				}
			}
		}
		for id, job := range workflows[name].Jobs {
			got := map[string]string{}
			if job.WorkflowCall != nil {
				for key, input := range job.WorkflowCall.Inputs {
					got[key] = input.Value.Value
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s: job %s hands over %v, want %v", name, id, got, want)
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
		"DEPLOY_SSH_KEY_FILE":     "is a file on the user's machine",
		"DEPLOY_KNOWN_HOSTS_FILE": "is a file on the user's machine",
		"SIGNING_KEY_FILE":        "is a file on the user's machine",
		"TLS_CERT_FILE":           "is a file on the user's machine",
		"TLS_KEY_FILE":            "is a file on the user's machine",
		"DAGGER_RUNNER_HOST":      "is set by the runner",
		engine.RunnerHostVariable: "is set by the runner",
		"DAGGER_CLI_BIN":          "is set by the runner",
		engine.CLIVariable:        "is set by the runner",
		"SANDBOX":                 "is written by pipeline sandbox",
	}
	_, env := deployStep(t, releaseStep)
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
				t.Errorf("%s: %s is %q, want %q", deployWorkflow, key, env[key], want)
			}
		}
	}
	for _, line := range placeholders(t) {
		name, _, _ := strings.Cut(line, ":")
		known[name] = true
	}
	for key, value := range env {
		if !known[key] && !strings.HasPrefix(value, "${{ inputs.") {
			t.Errorf("%s: %s is no key of the configuration", deployWorkflow, key)
		}
	}
}

// A rollback gets what it reads and no more: neither another secret, nor what
// would keep it from going back where only half of it is set.
func TestRollbacksGetWhatTheyRead(t *testing.T) {
	want := map[string]string{
		"VERSION":      "${{ inputs.version }}",
		"RESTORE_DATA": "${{ inputs.restore-data && '--restore-data' || '' }}",
	}
	for _, line := range config.RollbackEnv() {
		key, value, _ := strings.Cut(line, ": ")
		want[key] = value
	}
	step, got := deployStep(t, rollbackStep)
	if !maps.Equal(got, want) || step.Env.Expression != nil {
		t.Errorf("%s: step %q gets %v, want %v", deployWorkflow, rollbackStep, got, want)
	}
}

// placeholders returns the lines for what the urls of apps.json name, other than keys
// of the configuration.
func placeholders(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../apps.json")
	if err != nil {
		t.Fatal(err)
	}
	entries, report := apps.Parse("apps.json", text)
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	var lines []string
	for _, entry := range entries {
		line := entry.TokenName + ": ${{ secrets." + entry.TokenName + " }}"
		if entry.TokenName != "" && !slices.Contains(append(config.WorkflowEnv(), lines...), line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// The schema in internal/config writes the env of the steps that change a host.
func TestDeployEnvIsUpToDate(t *testing.T) {
	for name, parts := range map[string]map[string][]string{
		deployWorkflow:   {"release": append(config.WorkflowEnv(), placeholders(t)...), "rollback": config.RollbackEnv()},
		upstreamWorkflow: {"apps": placeholders(t)},
	} {
		path := filepath.Join(workflowDir, name)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := string(got)
		for part, lines := range parts {
			want = writeEnv(t, want, part, lines)
		}
		if string(got) == want {
			continue
		}
		if !*update {
			t.Errorf("the env of %s is not what the schema in internal/config/schema.go and the placeholders of apps.json say; run: go test ./internal/archtest -update", name)
		} else if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// writeEnv returns the workflow with these lines between the marks of the name.
func writeEnv(t *testing.T, workflow, name string, lines []string) string {
	t.Helper()
	const indent = "          "
	begin := indent + "# " + name + ":begin, written by: go test ./internal/archtest -update\n"
	end := indent + "# " + name + ":end\n"
	before, rest, begins := strings.Cut(workflow, begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s has not the lines %q and %q, between which the configuration stands", deployWorkflow, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var env strings.Builder
	for _, line := range lines {
		env.WriteString(indent + line + "\n")
	}
	return before + begin + env.String() + end + after
}
