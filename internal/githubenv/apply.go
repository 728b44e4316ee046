package githubenv

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-github/v60/github"
	"golang.org/x/crypto/nacl/box"
)

// Apply makes the changes of the plan. The limits come first: no other branch reads the
// secrets in between. The error is a problem.Problem, or what ended the context.
func (p *Plan) Apply(ctx context.Context) error {
	if p.environment == nil || !p.restricted() && !p.Protected() {
		if err := p.call(ctx, http.MethodPut, p.path(), p.limited(), nil); err != nil {
			return p.explain(ctx, "make the environment "+p.wanted.Name, err)
		}
	}
	for _, one := range p.policies {
		request := &github.DeploymentBranchPolicyRequest{Name: &one.pattern, Type: &one.kind}
		if err := p.call(ctx, http.MethodPost, p.path("deployment-branch-policies"), request, nil); err != nil {
			return p.explain(ctx, "let "+one.pattern+" reach it", err)
		}
	}
	for _, name := range slices.Concat(p.create, p.replace) {
		method, path := http.MethodPost, p.path("variables")
		if slices.Contains(p.replace, name) {
			method, path = http.MethodPatch, p.path("variables", name)
		}
		variable := map[string]string{"name": name, "value": p.wanted.Variables[name]}
		if err := p.call(ctx, method, path, variable, nil); err != nil {
			return p.explain(ctx, "set the variable "+name, err)
		}
	}
	return p.setSecrets(ctx)
}

// environmentRequest is what an environment is made with. What is left out is reset.
type environmentRequest struct {
	WaitTimer              int                    `json:"wait_timer,omitempty"`
	PreventSelfReview      bool                   `json:"prevent_self_review,omitempty"`
	Reviewers              []*github.EnvReviewers `json:"reviewers,omitempty"`
	DeploymentBranchPolicy *github.BranchPolicy   `json:"deployment_branch_policy"`
}

// limited returns the environment with patterns of its own, and with the rules that it
// has already.
func (p *Plan) limited() environmentRequest {
	request := environmentRequest{DeploymentBranchPolicy: &github.BranchPolicy{ProtectedBranches: github.Bool(false), CustomBranchPolicies: github.Bool(true)}}
	if p.environment == nil {
		return request
	}
	for _, rule := range p.environment.ProtectionRules {
		request.WaitTimer = max(request.WaitTimer, rule.GetWaitTimer())
		request.PreventSelfReview = request.PreventSelfReview || rule.GetPreventSelfReview()
		for _, required := range rule.Reviewers {
			var id int64
			switch reviewer := required.Reviewer.(type) {
			case *github.User:
				id = reviewer.GetID()
			case *github.Team:
				id = reviewer.GetID()
			}
			request.Reviewers = append(request.Reviewers, &github.EnvReviewers{Type: required.Type, ID: &id})
		}
	}
	return request
}

// setSecrets sets every secret, sealed for the environment: only GitHub can open it.
func (p *Plan) setSecrets(ctx context.Context) error {
	names := slices.Concat(p.set, p.renew)
	if len(names) == 0 {
		return nil
	}
	var public github.PublicKey
	if err := p.call(ctx, http.MethodGet, p.path("secrets", "public-key"), nil, &public); err != nil {
		return p.explain(ctx, "read the key for secrets", err)
	}
	text, err := base64.StdEncoding.DecodeString(public.GetKey())
	if err != nil || len(text) != 32 {
		return fmt.Errorf("read the key for secrets of %s: it is no key of 32 bytes", p.wanted.Repository)
	}
	for _, name := range names {
		sealed, err := box.SealAnonymous(nil, []byte(p.wanted.Secrets[name].Reveal()), (*[32]byte)(text), rand.Reader)
		if err != nil {
			return fmt.Errorf("seal %s: %w", name, err)
		}
		request := map[string]string{"key_id": public.GetKeyID(), "encrypted_value": base64.StdEncoding.EncodeToString(sealed)}
		if err := p.call(ctx, http.MethodPut, p.path("secrets", name), request, nil); err != nil {
			return p.explain(ctx, "set the secret "+name, err)
		}
	}
	return nil
}
