package apps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// errNoObject says that a repository has no commit, tree or content by the name
// asked for.
var errNoObject = errors.New("no such object")

// objectError tells a missing commit, tree or content from a missing repository.
func (r repository) objectError(ctx context.Context, response *github.Response, err error) error {
	if response != nil {
		switch response.StatusCode {
		case http.StatusUnprocessableEntity:
			return errNoObject
		case http.StatusConflict:
			return problem.Problem{Code: "apps.repo-empty", Subject: r.source.Subject, Err: err,
				Detail: fmt.Sprintf("%s: %s has no commits", r.source.Name, r.name()), Remedy: "push to it, or name another repository"}
		case http.StatusNotFound:
			if _, response, err := r.client.Repositories.Get(ctx, r.source.Owner, r.source.Repo); err != nil {
				return r.requestError(ctx, response, err)
			}
			return errNoObject
		}
	}
	return r.requestError(ctx, response, err)
}

// requestError says why a repository can't be read.
func (r repository) requestError(ctx context.Context, response *github.Response, err error) error {
	s := r.source
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if response == nil || response.Response == nil {
		reason := err
		var urlError *url.Error
		if errors.As(err, &urlError) {
			reason = urlError.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			reason = fmt.Errorf("no answer within %s", answerWithin)
		}
		return problem.Problem{Code: "apps.network", Subject: r.api, Err: err,
			Detail: "can't be reached: " + reason.Error(), Remedy: "check the network, the proxy and GITHUB_API_URL, then try again"}
	}
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	var answer *github.ErrorResponse
	message := ""
	if errors.As(err, &answer) && answer.Message != "" {
		message = ": " + shorten(answer.Message)
	}
	status, header := response.StatusCode, response.Header
	switch {
	case errors.As(err, &primary), errors.As(err, &secondary), status == http.StatusTooManyRequests:
		return r.rateLimited(response)
	case status == http.StatusUnauthorized && r.tokenName != "":
		return problem.Problem{Code: "apps.token-refused", Subject: r.tokenName, Err: err,
			Detail: r.api + " refuses the token: it is wrong, expired or withdrawn", Remedy: "make a new token on GitHub and put it into " + r.tokenName}
	case status == http.StatusUnauthorized:
		return r.notVisible(err)
	case status == http.StatusForbidden && strings.HasPrefix(header.Get("X-GitHub-SSO"), "required"):
		return problem.Problem{Code: "apps.token-access", Subject: s.Subject, Err: err,
			Detail: fmt.Sprintf("%s: %s wants the token %s authorised for its single sign-on", s.Name, s.Owner, r.tokenName),
			Remedy: "authorise it in GitHub's settings under personal access tokens, Configure SSO"}
	case status == http.StatusForbidden:
		return problem.Problem{Code: "apps.token-access", Subject: s.Subject, Err: err,
			Detail: fmt.Sprintf("%s: reading %s is forbidden%s", s.Name, r.name(), message), Remedy: r.accessRemedy()}
	case status == http.StatusNotFound:
		return r.notVisible(err)
	case status >= 500:
		return problem.Problem{Code: "apps.api-failing", Subject: r.api, Err: err,
			Detail: fmt.Sprintf("answers %d %s, also after %d attempts", status, http.StatusText(status), attempts), Remedy: "see whether GitHub has an outage, and try again later"}
	case answer == nil:
		return r.strangeAnswer("is not GitHub's", err)
	}
	return problem.Problem{Code: "apps.api-failing", Subject: s.Subject, Err: err,
		Detail: fmt.Sprintf("%s: asking for %s got %d %s%s", s.Name, r.name(), status, http.StatusText(status), message), Remedy: "open " + s.URL + " and see whether it is there"}
}

// notVisible is the problem of a repository that GitHub says is not there. It
// says the same of one that the token may not read.
func (r repository) notVisible(err error) error {
	s := r.source
	detail := fmt.Sprintf("%s: %s is private or does not exist", s.Name, r.name())
	remedy := fmt.Sprintf("check the name; if it is private, put a token placeholder into the url: https://${NAME}@%s/%s", s.Host, r.name())
	if r.own {
		detail = fmt.Sprintf("%s: %s does not exist, or the token %s may not read it", s.Name, r.name(), r.tokenName)
		remedy = "check the name; " + r.accessRemedy()
	}
	return problem.Problem{Code: "apps.repo-missing", Subject: s.Subject, Detail: detail, Remedy: remedy, Err: err}
}

func (r repository) accessRemedy() string {
	if !r.own {
		return fmt.Sprintf("put a token placeholder into the url: https://${NAME}@%s/%s", r.source.Host, r.name())
	}
	return fmt.Sprintf("give %s access to %s: a fine-grained token needs the repository selected and Contents: Read, a classic one the scope repo", r.tokenName, r.name())
}

func (r repository) rateLimited(response *github.Response) error {
	detail, remedy := "the rate limit is used up", "wait a few minutes and try again"
	if reset := response.Rate.Reset.Time; response.Rate.Remaining == 0 && reset.Unix() > 0 {
		until := reset.UTC().Format("15:04 UTC")
		detail, remedy = detail+" until "+until, "wait until "+until
	}
	if r.tokenName == "" {
		detail += ", for requests without a token"
		remedy = "set GITHUB_TOKEN to any GitHub token, or " + remedy
	} else {
		detail += ", for the token " + r.tokenName
	}
	return problem.Problem{Code: "apps.rate-limit", Subject: r.api, Detail: detail, Remedy: remedy}
}

func (r repository) strangeAnswer(what string, err error) error {
	return problem.Problem{Code: "apps.api-answer", Subject: r.api, Err: err,
		Detail: "its answer " + what, Remedy: "check GITHUB_API_URL, and whether a proxy answers in GitHub's place"}
}
