// Package githubenv sets up an environment of a repository at GitHub for releases:
// which tags and branches may reach it, its variables and its secrets.
//
// It looks first, says what it would change, and changes then: [Look], [Plan.Changes],
// [Plan.Apply]. Done twice, it changes nothing the second time but the secrets, which
// can't be compared.
package githubenv

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Wanted is what an environment is to be.
type Wanted struct {
	// Repository is OWNER/NAME.
	Repository string
	// Name is the environment's.
	Name string
	// Tags is the pattern of tags that may release to it. The default branch may as
	// well: what is started by hand is started from there.
	Tags string
	// Variables and Secrets are the values by their names.
	Variables map[string]string
	Secrets   map[string]secret.Secret
}

// Server is where GitHub's API is, and who asks.
type Server struct {
	// APIURL has no slash at its end.
	APIURL string
	Token  secret.Secret
	// Transport sends the requests; http.DefaultTransport if nil.
	Transport http.RoundTripper
}

// policy is a pattern of branches or tags that may reach an environment.
type policy struct{ kind, pattern string }

// Plan is what there is, and what would be changed.
type Plan struct {
	wanted Wanted
	client *github.Client
	// environment is what is there; nil for none.
	environment *github.Environment
	// policies are to be added.
	policies []policy
	// create and replace are names of variables, set and renew of secrets.
	create, replace, set, renew []string
}

// requestTime is how long one request may take.
const requestTime = 30 * time.Second

// Look finds out what there is. The error is a problem.Problem, or what ended the
// context.
func Look(ctx context.Context, server Server, wanted Wanted) (*Plan, error) {
	base, err := url.Parse(server.APIURL + "/")
	if err != nil {
		return nil, fmt.Errorf("read GITHUB_API_URL: %w", err)
	}
	client := github.NewClient(&http.Client{Transport: server.Transport, Timeout: requestTime,
		// A repository that was renamed redirects, at the same host; the token goes nowhere else.
		CheckRedirect: func(request *http.Request, before []*http.Request) error {
			if request.URL.Host != base.Host || len(before) > 5 {
				return fmt.Errorf("it redirects to %s", request.URL.Host)
			}
			return nil
		},
	}).WithAuthToken(server.Token.Reveal())
	client.BaseURL = base
	p := &Plan{wanted: wanted, client: client}
	var repository github.Repository
	if err := p.call(ctx, http.MethodGet, "", nil, &repository); err != nil {
		return nil, p.explain(ctx, "read the repository", err)
	}
	environment := &github.Environment{}
	switch err := p.call(ctx, http.MethodGet, p.path(), nil, environment); {
	case isStatus(err, http.StatusNotFound):
	case err != nil:
		return nil, p.explain(ctx, "read the environment", err)
	default:
		p.environment = environment
	}
	if err := p.lookAtPolicies(ctx, repository.GetDefaultBranch()); err != nil {
		return nil, p.explain(ctx, "read who may reach the environment", err)
	}
	if err := p.lookAtValues(ctx); err != nil {
		return nil, p.explain(ctx, "read variables and secrets", err)
	}
	return p, nil
}

// Protected reports whether the environment takes protected branches alone: no tag
// could release to it. That is left as somebody has set it.
func (p *Plan) Protected() bool {
	return p.environment != nil && p.environment.DeploymentBranchPolicy.GetProtectedBranches()
}

// restricted reports whether the environment has patterns of its own.
func (p *Plan) restricted() bool {
	return p.environment != nil && p.environment.DeploymentBranchPolicy.GetCustomBranchPolicies()
}

func (p *Plan) lookAtPolicies(ctx context.Context, defaultBranch string) error {
	if p.Protected() {
		return nil
	}
	var have github.DeploymentBranchPolicyResponse
	if p.restricted() {
		if err := p.call(ctx, http.MethodGet, p.path("deployment-branch-policies")+"?per_page=100", nil, &have); err != nil {
			return err
		}
	}
	for _, one := range []policy{{"tag", p.wanted.Tags}, {"branch", defaultBranch}} {
		// A pattern without a type is one for branches.
		if !slices.ContainsFunc(have.BranchPolicies, func(b *github.DeploymentBranchPolicy) bool {
			return b.GetName() == one.pattern && (b.GetType() == one.kind || b.GetType() == "" && one.kind == "branch")
		}) {
			p.policies = append(p.policies, one)
		}
	}
	return nil
}

func (p *Plan) lookAtValues(ctx context.Context) error {
	variables, secrets := map[string]string{}, map[string]bool{}
	if p.environment != nil {
		for page := 1; page != 0; {
			var list github.ActionsVariables
			next, err := p.page(ctx, p.path("variables"), page, &list)
			if err != nil {
				return err
			}
			for _, v := range list.Variables {
				variables[v.Name] = v.Value
			}
			page = next
		}
		for page := 1; page != 0; {
			var list github.Secrets
			next, err := p.page(ctx, p.path("secrets"), page, &list)
			if err != nil {
				return err
			}
			for _, s := range list.Secrets {
				secrets[s.Name] = true
			}
			page = next
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.wanted.Variables)) {
		switch value, has := variables[name]; {
		case !has:
			p.create = append(p.create, name)
		case value != p.wanted.Variables[name]:
			p.replace = append(p.replace, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.wanted.Secrets)) {
		if secrets[name] {
			p.renew = append(p.renew, name)
		} else {
			p.set = append(p.set, name)
		}
	}
	return nil
}

// Change is one thing that would be done.
type Change struct {
	What string
	// Names are those of variables or secrets.
	Names []string
}

// Changes says what would be done, by names and without values. It is empty where
// there is nothing to do.
func (p *Plan) Changes() []Change {
	var changes []Change
	add := func(what string, names []string) {
		if len(names) > 0 {
			changes = append(changes, Change{what, names})
		}
	}
	switch {
	case p.environment == nil:
		changes = append(changes, Change{What: "make the environment, for chosen tags and branches alone"})
	case !p.restricted() && !p.Protected():
		changes = append(changes, Change{What: "limit the environment, which every branch and tag may reach now"})
		if bypass := p.environment.CanAdminsBypass; bypass != nil && !*bypass {
			// GitHub describes no way to say so again, and what is left out may be reset.
			changes = append(changes, Change{What: "which may let administrators pass over its rules, as they may not now: see to it in its settings afterwards"})
		}
	}
	for _, one := range p.policies {
		kind := "the branch "
		if one.kind == "tag" {
			kind = "tags "
		}
		changes = append(changes, Change{What: "let " + kind + one.pattern + " reach it"})
	}
	add("set the variables", p.create)
	add("replace variables that have another value there", p.replace)
	add("set the secrets", p.set)
	add("set secrets again, which can't be compared", p.renew)
	return changes
}
