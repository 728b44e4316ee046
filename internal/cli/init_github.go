package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/desiredeffect/erpnext-pipeline/internal/githubenv"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// siteTags are the tags that release a site.
const siteTags = "site-v*"

// checkGitHub says what --github lacks, before anything is written. It returns the
// repository.
func (c *cli) checkGitHub(ctx context.Context, o initOptions, s start, report *problem.Report) string {
	repository := o.github
	switch {
	case repository == "":
		return ""
	case repository == fromRemote:
		if repository = c.remoteRepository(ctx); repository == "" {
			report.Addf("init.github", "--github", "name it: --github=OWNER/NAME", "the folder has no remote origin that is at GitHub")
		}
	case !isRepository(repository):
		report.Addf("init.github", "--github", "write --github=OWNER/NAME", "takes a repository, not %q", repository)
	}
	if !s.known.GitHub.Token.IsSet() {
		report.Addf("init.github", "GITHUB_TOKEN", "set it in the environment to a token that may change the repository's environments", "is not set, and --github needs it")
	}
	if !c.terminal && !o.yes {
		report.Addf("init.github", "--github", "give --yes", "asks before it sets anything, and there is no terminal to ask on")
	}
	return repository
}

// setUpGitHub shows what it will set at GitHub, by name, asks, and sets it.
func (c *cli) setUpGitHub(ctx context.Context, o initOptions, s start, settings settings) error {
	plan, err := githubenv.Look(ctx, githubenv.Server{APIURL: s.known.GitHubAPIURL, Token: s.known.GitHub.Token, Transport: trusting(s.known.Image.Mirrors.CAs)},
		githubenv.Wanted{Repository: s.repository, Name: o.environment, Tags: siteTags, Variables: settings.Variables, Secrets: settings.Secrets})
	if err != nil {
		return reported(err)
	}
	if plan.Protected() {
		c.log.Warn().Str("fix", "choose selected branches and tags in the settings of the environment, and add "+siteTags).
			Msg("the environment " + o.environment + " takes protected branches alone, so no tag releases to it; that is left as it is")
	}
	for _, name := range settings.Missing {
		c.log.Warn().Str("fix", "set it in "+o.envFile+", and run init --github again").Msg(name + " has no value, and is left out at GitHub")
	}
	changes := plan.Changes()
	if len(changes) == 0 {
		_, err := fmt.Fprintf(c.out, "GitHub: the environment %s of %s is as it has to be.\n", o.environment, s.repository)
		return err
	}
	fmt.Fprintf(c.err, "GitHub, environment %s of %s:\n", o.environment, s.repository)
	for _, change := range changes {
		fmt.Fprintf(c.err, "  - %s\n", change.What)
		for _, name := range change.Names {
			if file := settings.From[name]; file != "" {
				name += " (the text of " + file + ")"
			}
			fmt.Fprintf(c.err, "      %s\n", name)
		}
	}
	if err := c.approve(ctx, o.yesFlag, "Do this?"); errors.Is(err, errDeclined) {
		// The files are written by now.
		return fmt.Errorf("%w at GitHub", err)
	} else if err != nil {
		return err
	}
	if err := plan.Apply(ctx); err != nil {
		return reported(err)
	}
	_, err = fmt.Fprintf(c.out, "GitHub: the environment %s of %s is set up. Commit and push the files; then a tag releases: git tag site-v1.0.0 && git push origin site-v1.0.0\n", o.environment, s.repository)
	return err
}

// reported returns a problem as one that is shown with its remedy.
func reported(err error) error {
	var p problem.Problem
	if errors.As(err, &p) {
		return problem.Report{p}.Err()
	}
	return err
}
