package apps

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
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
	// lists that Tree returns and the contents that Read returns. It is made
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

// NewGitHub makes a resolver for an API, as GITHUB_API_URL names it:
// https://api.github.com, which is also meant by an empty URL, or that of a
// GitHub Enterprise Server, https://HOST/api/v3. Repositories on github.com are
// always asked for at api.github.com, those on the API's host at the API. The error
// is a problem.Problem.
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
	case api.Scheme == "http" && !IsLoopback(api.Host):
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

// has reports whether a source is where an API is known for: OWNER/REPO over HTTPS,
// at github.com or the API's host.
func (g *GitHub) has(s Source) bool {
	return !s.SSH() && (s.Host == publicHost || s.Host == g.host) && s.Owner != "" && !strings.Contains(s.Owner, "/")
}

// open finds the API and the token for a source.
func (g *GitHub) open(s Source) repository {
	api := g.api
	if s.Host != g.host {
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
	return r
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

// clientKey is what a client is made for: GitHub counts requests per token.
type clientKey struct {
	api   string
	token secret.Secret
}
