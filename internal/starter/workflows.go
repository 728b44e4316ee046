package starter

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	erpnextpipeline "github.com/desiredeffect/erpnext-pipeline"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// workflowDir is where GitHub looks for workflows.
const workflowDir = ".github/workflows"

// DeployWorkflow is the path of the workflow that the others call, and that has the
// names of the secrets.
const DeployWorkflow = workflowDir + "/deploy.yml"

// Tool says which build of this program is in use.
type Tool struct {
	// Version is the module's version, such as v1.2.3; others than releases have
	// more in it, or nothing.
	Version string
	// Commit is the full SHA; empty where it is not known, or where the source had
	// changes beside it.
	Commit string
}

// released is the form of a release's version. One of a commit between two has a
// hyphen in what follows the three numbers.
var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)

// pin returns at which ref a workflow uses the action of this program, and the
// release to take, which is empty where the action compiles the program.
func (t Tool) pin() (ref, release string) {
	switch isRelease := released.MatchString(t.Version); {
	case isRelease && t.Commit != "":
		return t.Commit + " # " + t.Version, t.Version
	case isRelease:
		return t.Version, t.Version
	case t.Commit != "":
		return t.Commit + " # not a release", ""
	}
	return "main # moves; take the commit of a release", ""
}

// Workflows returns the workflows of this repository as another one has them: the
// program comes from a release, and tokens are the names of the tokens in the URLs of
// its apps.json.
//
// They are that repository's own, and call none of this one: GitHub hands secrets of
// an environment to a called workflow only with "secrets: inherit", and that only
// within one organization or enterprise.
func Workflows(tool Tool, tokens []string) ([]File, error) {
	var files []File
	for _, one := range []struct{ name, what string }{
		{"deploy.yml", "what the others call; started by hand it deploys a version"},
		{"release.yml", "a pushed tag site-v1.2.3 releases"},
		{"hotfix.yml", "by hand: another ref for one app"},
		{"rollback.yml", "by hand: back to an earlier release"},
	} {
		text, err := erpnextpipeline.Files.ReadFile(path.Join(workflowDir, one.name))
		if err != nil {
			return nil, fmt.Errorf("read workflow: %w", err)
		}
		workflow := string(text)
		switch one.name {
		case "deploy.yml":
			if workflow, err = deployWorkflow(workflow, tool, tokens); err != nil {
				return nil, err
			}
		case "release.yml":
			// Only this repository has tags of the tool.
			workflow = strings.Replace(workflow, " Tags v1.2.3 are releases of the tool: tool-release.yml.\n", "\n", 1)
		}
		files = append(files, File{workflowDir + "/" + one.name, 0o644, []byte(workflow), one.what})
	}
	return files, nil
}

// deployWorkflow has deploy.yml take the program from where it is released, and hand
// over the tokens.
func deployWorkflow(workflow string, tool Tool, tokens []string) (string, error) {
	ref, release := tool.pin()
	get := "      - name: Get the program\n        # Before there are secrets in the environment.\n" +
		"        uses: desiredeffect/erpnext-pipeline@" + ref + "\n"
	if release != "" {
		get += "        with:\n          version: " + release + "\n"
	}
	lines := config.WorkflowEnv()
	for _, name := range tokens {
		if line := TokenLine(name); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	const indent = "          "
	const written = ":begin, written by: go test ./internal/archtest -update\n"
	for _, part := range []struct{ from, to, text string }{
		{"      - name: Check out the program\n", "      - name: Release\n", get},
		{indent + "# release" + written, indent + "# release:end\n",
			indent + "# The configuration and the tokens of apps.json: a new token wants a line here.\n" + indent + strings.Join(lines, "\n"+indent) + "\n"},
		{indent + "# release:end\n", "        # The program", ""},
		{indent + "# rollback" + written, indent + "DEPLOY_HOST", ""},
		{indent + "# rollback:end\n", "        run: |", ""},
	} {
		from := strings.Index(workflow, part.from)
		length := strings.Index(workflow[max(from, 0):], part.to)
		if from < 0 || length < 0 {
			return "", fmt.Errorf("write %s: it has no part from %q to %q", DeployWorkflow, strings.TrimSpace(part.from), strings.TrimSpace(part.to))
		}
		workflow = workflow[:from] + part.text + workflow[from+length:]
	}
	return workflow, nil
}

// TokenLine returns the line that hands a token to a release.
func TokenLine(name string) string { return name + ": ${{ secrets." + name + " }}" }
