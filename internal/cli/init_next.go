package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

// afterStart sets GitHub up, or says what to set there, and what is next.
func (c *cli) afterStart(ctx context.Context, o initOptions, s start) error {
	tokens := tokenNames(s.known.Apps.Path)
	c.sayMissingTokens(tokens)
	if strings.Contains(readText(starter.DeployWorkflow), "desiredeffect/erpnext-pipeline@main") {
		c.log.Warn().Str("fix", "put the commit of a release there").Msg(starter.DeployWorkflow + " takes the program from its branch main, which moves: this build of it is of no release and no commit")
	}
	found, report := config.WorkflowSettings(o.envFile, c.environ, tokens)
	settings := settings{found}
	for _, value := range settings.Secrets {
		c.hide(value)
	}
	// What a file lacks matters where it is sent; check says it otherwise.
	if err := report.Err(); err != nil && s.repository != "" {
		return err
	}
	c.sayUnnamed(ctx, o, s, settings)
	var b strings.Builder
	fmt.Fprintf(&b, "Next:\n\n")
	if open := settings.open(); len(open) > 0 {
		fmt.Fprintf(&b, "    $EDITOR %s      # %s\n", o.envFile, strings.Join(open, ", "))
	}
	fmt.Fprint(&b, "    pipeline check     # every problem at once, with its remedy\n    pipeline release   # shows the plan, asks, releases\n\n")
	if s.repository == "" {
		b.WriteString(settings.commands(o, c.remoteRepository(ctx)))
	}
	if _, err := fmt.Fprint(c.out, b.String()); err != nil || s.repository == "" {
		return err
	}
	return c.setUpGitHub(ctx, o, s, settings)
}

// sayUnnamed says which files are not found where they are read: known_hosts, if .env
// does not name it, and files that a workflow reads in a repository that lacks them.
func (c *cli) sayUnnamed(ctx context.Context, o initOptions, s start, settings settings) {
	named := settings.From["DEPLOY_KNOWN_HOSTS"] != "" || settings.Variables["DEPLOY_KNOWN_HOSTS"] != ""
	if !named && (len(s.hostKeys) > 0 || exists(starter.KnownHostsFile) && settings.Variables["DEPLOY_HOST"] != "") {
		fmt.Fprintf(c.err, "Add DEPLOY_KNOWN_HOSTS_FILE=%s to %s: it was there before, and is left as it is.\n", starter.KnownHostsFile, o.envFile)
	}
	for _, key := range slices.Sorted(maps.Keys(settings.Paths)) {
		if file := settings.Paths[key]; c.git(ctx, "ls-files", "--error-unmatch", "--", file) == "" {
			c.log.Warn().Str("fix", "put it into the repository, commit it, and have "+key+" name it by its path there").
				Msg(key + " names " + file + ", which is not in git: workflows get this path, and not the file")
		}
	}
}

// open returns the names that have no value and that nothing else on this machine can
// stand for.
func (s settings) open() []string {
	return slices.DeleteFunc(slices.Clone(s.Missing), func(name string) bool { return name == "DEPLOY_SSH_KEY" || name == "DEPLOY_KNOWN_HOSTS" })
}

// settings are what GitHub has to have.
type settings struct{ config.Settings }

// commands returns what to type to set GitHub up by hand. Secrets are read from
// standard input: others can read command lines.
func (s settings) commands(o initOptions, repository string) string {
	var b strings.Builder
	repository = cmp.Or(repository, "OWNER/NAME")
	environment := "--env " + o.environment + " --repo " + repository
	fmt.Fprintf(&b, "So that a pushed tag site-v1.0.0 releases, GitHub needs the environment %s. With a token of the repository,\n\n    GITHUB_TOKEN=… pipeline init --github=%s\n\nmakes it, limits it to tags site-v* and the default branch, and sets what the workflows read. By hand it is the following; an environment that is there keeps its rules, and if it takes every branch and tag, choose selected ones in its settings before:\n\n", o.environment, repository)
	// What is left out when an environment is put is reset: one that is there keeps its rules.
	fmt.Fprintf(&b, "    gh api repos/%[1]s/environments/%[2]s >/dev/null 2>&1 || gh api -X PUT repos/%[1]s/environments/%[2]s -F 'deployment_branch_policy[protected_branches]=false' -F 'deployment_branch_policy[custom_branch_policies]=true'\n", repository, o.environment)
	fmt.Fprintf(&b, "    gh api repos/%s/environments/%s/deployment-branch-policies -f name='%s' -f type=tag\n", repository, o.environment, siteTags)
	fmt.Fprintf(&b, "    gh api repos/%[1]s/environments/%[2]s/deployment-branch-policies -f name=\"$(gh api repos/%[1]s --jq .default_branch)\" -f type=branch\n", repository, o.environment)
	for _, name := range slices.Sorted(maps.Keys(s.Variables)) {
		if file := s.From[name]; file != "" {
			fmt.Fprintf(&b, "    gh variable set %s %s <%s\n", name, environment, file)
		} else {
			fmt.Fprintf(&b, "    gh variable set %s %s %s\n", name, environment, host.Quote([]string{"--body", s.Variables[name]}))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		if file := s.From[name]; file != "" {
			fmt.Fprintf(&b, "    gh secret set %s %s <%s\n", name, environment, file)
		} else {
			fmt.Fprintf(&b, "    gh secret set %s %s   # asks; it is in %s\n", name, environment, o.envFile)
		}
	}
	for _, name := range s.Missing {
		kind := "secret"
		if config.IsVariable(name) {
			kind = "variable"
		}
		fmt.Fprintf(&b, "    gh %s set %s %s   # asks; it has no value yet\n", kind, name, environment)
	}
	return b.String()
}

// sayMissingTokens says which names of apps.json deploy.yml, which is the user's own
// once it is there, does not hand over.
func (c *cli) sayMissingTokens(tokens []string) {
	deploy := readText(starter.DeployWorkflow)
	for _, name := range tokens {
		if line := starter.TokenLine(name); !strings.Contains(deploy, line) {
			fmt.Fprintf(c.err, "Add a line to the env of the step Release in %s:\n\n          %s\n\n", starter.DeployWorkflow, line)
		}
	}
}

// readText returns the text of a file, and nothing where there is none.
func readText(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(text)
}
