package githubenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// path returns the path of the environment, or of something in it, after the
// repository's.
func (p *Plan) path(parts ...string) string {
	path := "/environments/" + url.PathEscape(p.wanted.Name)
	for _, part := range parts {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// call makes one request about the repository. The library's own calls for secrets
// and variables have addresses that GitHub no longer describes.
func (p *Plan) call(ctx context.Context, method, path string, body, answer any) error {
	_, err := p.do(ctx, method, path, body, answer)
	return err
}

func (p *Plan) do(ctx context.Context, method, path string, body, answer any) (*github.Response, error) {
	request, err := p.client.NewRequest(method, "repos/"+p.wanted.Repository+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return p.client.Do(ctx, request, answer)
}

// page reads one page of a list, and returns the number of the next one, or 0.
func (p *Plan) page(ctx context.Context, path string, number int, list any) (next int, err error) {
	// GitHub lists at most 30 variables at once.
	response, err := p.do(ctx, http.MethodGet, path+"?per_page=30&page="+strconv.Itoa(number), nil, list)
	if err != nil {
		return 0, err
	}
	return response.NextPage, nil
}

func isStatus(err error, status int) bool {
	var answer *github.ErrorResponse
	return errors.As(err, &answer) && answer.Response != nil && answer.Response.StatusCode == status
}

// rights are what a token has to be allowed.
const rights = "give GITHUB_TOKEN a fine-grained token for this repository with the permissions Administration, Environments, Secrets and Variables: read and write; or a classic one with the scope repo"

// explain returns the problem that an answer is.
func (p *Plan) explain(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found := problem.Problem{Code: "github.failed", Subject: p.wanted.Repository, Err: err, Remedy: "try again; what was done so far is found then"}
	var answer *github.ErrorResponse
	var limited *github.RateLimitError
	said := ""
	if errors.As(err, &answer) {
		said = strings.TrimSuffix(answer.Message, ".")
		for _, detail := range answer.Errors {
			if detail.Message != "" {
				said += ": " + detail.Message
			}
		}
	}
	switch {
	case errors.As(err, &limited):
		found.Code, found.Detail, found.Remedy = "github.limit", "can't "+doing+": too many requests for this token", "try again at "+limited.Rate.Reset.Local().Format("15:04")
	case answer == nil || answer.Response == nil:
		reason := err
		var sending *url.Error
		if errors.As(err, &sending) {
			reason = sending.Err
		}
		found.Code, found.Subject, found.Detail = "github.network", p.client.BaseURL.Host, "can't "+doing+": "+reason.Error()
		found.Remedy = "check the network, the proxy and GITHUB_API_URL, then try again"
	case answer.Response.StatusCode == http.StatusUnauthorized:
		found.Code, found.Subject, found.Detail, found.Remedy = "github.token", "GITHUB_TOKEN", "is refused: "+said, "make a new token; "+rights
	case answer.Response.StatusCode == http.StatusForbidden:
		found.Code, found.Detail, found.Remedy = "github.rights", "can't "+doing+": "+said, rights
	case answer.Response.StatusCode == http.StatusNotFound && doing == "read the repository":
		found.Code, found.Detail, found.Remedy = "github.missing", "there is no such repository, or the token may not see it", "correct --github=OWNER/NAME, or "+rights
	case answer.Response.StatusCode == http.StatusNotFound:
		// A token that may read and no more gets this, and so does a plan without.
		found.Code, found.Detail = "github.rights", "can't "+doing+": GitHub answers that there is nothing"
		found.Remedy = rights + "; private repositories have environments in GitHub's paid plans only"
	case answer.Response.StatusCode == http.StatusUnprocessableEntity:
		found.Code, found.Detail, found.Remedy = "github.refused", "can't "+doing+": "+said, "see what the repository's plan and its organization allow"
	default:
		found.Detail = "can't " + doing + ": " + answer.Response.Status + " " + said
	}
	return found
}
