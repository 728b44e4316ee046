package apps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

const (
	publicHost = "github.com"
	publicAPI  = "https://api.github.com"
)

// GitHubOptions is what may be set for the requests to GitHub.
type GitHubOptions struct {
	// Token is used for repositories that have none of their own at the
	// API's host: it raises the rate limit from 60 requests an hour to 5,000.
	Token secret.Secret
	// TokenName is the key that Token came from; "GITHUB_TOKEN" if empty.
	TokenName string
	// Transport sends the requests; http.DefaultTransport if nil.
	Transport http.RoundTripper
	// CacheDir is a folder for the files of commits, which never change: the
	// lists that Tree gives and the contents that Read gives. It is made
	// where it is absent. It has to be the user's own, as only the user may
	// read what is put there. Empty, nothing is kept.
	CacheDir string
	Log      zerolog.Logger
}

// GitHub resolves refs and reads commits through GitHub's REST API. It is safe
// for use by several goroutines.
type GitHub struct {
	opts  GitHubOptions
	cache cache
	// api is the API that was asked for, and host the host of the
	// repositories that belong to it.
	api       *url.URL
	host      string
	firstWait time.Duration

	mutex   sync.Mutex
	clients map[clientKey]*github.Client
}

// clientKey is what a client is made for: GitHub counts requests per token.
type clientKey struct {
	api   string
	token secret.Secret
}

// NewGitHub makes a resolver for an API, as GITHUB_API_URL names it:
// https://api.github.com, which is also meant by an empty URL, or that of a
// GitHub Enterprise Server, https://HOST/api/v3. Repositories on github.com are
// always asked for at api.github.com, those on the API's host at the API; any
// other host is a problem. The error is a problem.Problem.
func NewGitHub(apiURL string, opts GitHubOptions) (*GitHub, error) {
	if apiURL == "" {
		apiURL = publicAPI
	}
	invalid := func(detail string) error {
		return problem.Problem{Code: "apps.api-invalid", Subject: "GITHUB_API_URL", Detail: detail,
			Remedy: "write " + publicAPI + ", or https://HOST/api/v3 for GitHub Enterprise Server"}
	}
	api, err := url.Parse(apiURL)
	switch {
	case err != nil || api.Scheme != "https" && api.Scheme != "http" || api.Host == "":
		return nil, invalid("is not an address")
	case api.User != nil || api.RawQuery != "" || api.Fragment != "":
		return nil, invalid("has more than a host and a path")
	case api.Scheme == "http" && !isLoopback(api.Host):
		return nil, invalid("would send tokens unencrypted")
	}
	api.Host = strings.ToLower(api.Host)
	api.Path = strings.TrimSuffix(api.Path, "/")
	g := &GitHub{opts: opts, cache: cache(opts.CacheDir), api: api, host: api.Host, firstWait: firstWait, clients: map[clientKey]*github.Client{}}
	if g.opts.TokenName == "" {
		g.opts.TokenName = "GITHUB_TOKEN"
	}
	if g.opts.Transport == nil {
		g.opts.Transport = http.DefaultTransport
	}
	// github.com has its API at api.github.com, and an enterprise in GitHub's
	// cloud with data residency at api.NAME.ghe.com.
	if api.Path == "" {
		g.host = strings.TrimPrefix(api.Host, "api.")
	}
	return g, nil
}

// repository is one repository, with the client that may read it.
type repository struct {
	source    Source
	client    *github.Client
	api       string
	tokenName string
	// own says that the token is the source's own, not the common one.
	own bool
}

func (r repository) name() string { return r.source.Owner + "/" + r.source.Repo }

// open finds the API and the token for a source.
func (g *GitHub) open(s Source) (repository, error) {
	api := g.api
	if s.Host != g.host {
		if s.Host != publicHost {
			return repository{}, problem.Problem{Code: "apps.api-host", Subject: s.Subject,
				Detail: fmt.Sprintf("%s: %s is not on %s, whose API GITHUB_API_URL names", s.Name, s.URL, g.host),
				Remedy: fmt.Sprintf("set GITHUB_API_URL to https://%s/api/v3", s.Host)}
		}
		api, _ = url.Parse(publicAPI)
	}
	r := repository{source: s, api: api.String(), tokenName: s.TokenName, own: s.TokenName != ""}
	token := s.Token
	if !r.own && s.Host == g.host {
		token = g.opts.Token
		if token.IsSet() {
			r.tokenName = g.opts.TokenName
		}
	}
	r.client = g.client(api, token)
	return r, nil
}

func (g *GitHub) client(api *url.URL, token secret.Secret) *github.Client {
	key := clientKey{api.String(), token}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	client := g.clients[key]
	if client == nil {
		client = github.NewClient(&http.Client{Transport: &transport{
			next: g.opts.Transport, host: api.Host, token: token, firstWait: g.firstWait, log: g.opts.Log,
		}})
		base := *api
		base.Path += "/"
		client.BaseURL = &base
		g.clients[key] = client
	}
	return client
}

// errNoObject says that a repository has no commit, tree or content by the name
// asked for.
var errNoObject = errors.New("no such object")

// ResolveRef gives the commit that a source's ref names. A tag goes before a
// branch of the same name, as git has it, and both before a commit.
func (g *GitHub) ResolveRef(ctx context.Context, s Source) (Resolution, error) {
	r, err := g.open(s)
	if err != nil {
		return Resolution{}, err
	}
	type form struct {
		ref  string
		kind release.RefKind
	}
	forms := []form{{"tags/" + s.Ref, release.Tag}, {"heads/" + s.Ref, release.Branch}}
	switch {
	case isFullSHA(s.Ref):
		forms = []form{{s.Ref, release.Commit}}
	case isHex(s.Ref):
		forms = append(forms, form{s.Ref, release.Commit})
	}
	for _, form := range forms {
		resolution, err := r.commit(ctx, form.ref)
		if errors.Is(err, errNoObject) {
			continue
		}
		// GitHub looks a bare name up among the branches as well.
		if form.kind == release.Commit && err == nil && !strings.HasPrefix(resolution.Commit, strings.ToLower(s.Ref)) {
			continue
		}
		resolution.Kind = form.kind
		return resolution, err
	}
	return Resolution{}, r.refMissing(ctx)
}

// commit asks for one commit, by tags/NAME, heads/NAME or SHA. The API's
// answer has its SHA and date in one, and for an annotated tag those of the
// commit behind it.
func (r repository) commit(ctx context.Context, ref string) (Resolution, error) {
	// go-github puts the ref into the path as it is. With its slashes escaped
	// a branch x/status is not taken for the statuses of x. One file of the
	// commit per page, instead of 300 with their patches, keeps the answer
	// small.
	commit, response, err := r.client.Repositories.GetCommit(ctx, r.source.Owner, r.source.Repo, url.PathEscape(ref), &github.ListOptions{PerPage: 1})
	if err != nil {
		return Resolution{}, r.objectError(ctx, response, err)
	}
	resolution := Resolution{
		Commit: commit.GetSHA(), CommittedAt: commit.GetCommit().GetCommitter().GetDate().UTC(),
		TokenName: r.tokenName, TokenExpires: response.TokenExpiration.Time,
	}
	if !isFullSHA(resolution.Commit) || resolution.CommittedAt.IsZero() {
		return Resolution{}, r.strangeAnswer("has no commit in it", nil)
	}
	return resolution, nil
}

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

// refMissing is the problem of a ref that is not there, with what is.
func (r repository) refMissing(ctx context.Context) error {
	s := r.source
	var tags, branches []string
	var group errgroup.Group
	group.Go(func() error { tags = r.tags(ctx); return nil })
	group.Go(func() error { branches = r.branches(ctx); return nil })
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return problem.Problem{Code: "apps.ref-missing", Subject: s.RefSubject,
		Detail: fmt.Sprintf("%s %s: no such tag, branch or commit in %s", s.Name, tokenShape.ReplaceAllString(s.Ref, secret.Mask), r.name()),
		Remedy: refRemedy(s.Ref, tags, branches)}
}

// tags and branches give the names that a remedy may propose. What can't be
// read is left out: the problem is the missing ref.
func (r repository) tags(ctx context.Context) []string {
	return allPages(func(page int) ([]string, *github.Response, error) {
		tags, response, err := r.client.Repositories.ListTags(ctx, r.source.Owner, r.source.Repo, &github.ListOptions{Page: page, PerPage: pageSize})
		return namesOf(tags), response, err
	})
}

func (r repository) branches(ctx context.Context) []string {
	return allPages(func(page int) ([]string, *github.Response, error) {
		branches, response, err := r.client.Repositories.ListBranches(ctx, r.source.Owner, r.source.Repo,
			&github.BranchListOptions{ListOptions: github.ListOptions{Page: page, PerPage: pageSize}})
		return namesOf(branches), response, err
	})
}

func namesOf[T interface{ GetName() string }](items []T) []string {
	names := make([]string, len(items))
	for i, item := range items {
		names[i] = item.GetName()
	}
	return names
}

const (
	// pageSize is the most that GitHub gives at once.
	pageSize = 100
	// mostPages bounds a listing at 3,000 names; frappe has about half.
	mostPages = 30
)

// allPages reads the first page, and then the others side by side.
func allPages(read func(page int) ([]string, *github.Response, error)) []string {
	first, response, err := read(1)
	if err != nil {
		return nil
	}
	pages := make([][]string, min(response.LastPage, mostPages)+1)
	var group errgroup.Group
	group.SetLimit(8)
	for page := 2; page < len(pages); page++ {
		group.Go(func() error {
			pages[page], _, _ = read(page)
			return nil
		})
	}
	_ = group.Wait()
	names := first
	for _, page := range pages {
		names = append(names, page...)
	}
	return names
}
