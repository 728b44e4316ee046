package apps

import (
	"cmp"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Source is one app that is to be resolved and fetched.
type Source struct {
	// Name is the app's name and its folder under apps/ in the bench.
	Name string
	// URL is the repository's address without credentials.
	URL string
	// Host is the URL's host, with its port if it has one.
	Host string
	// Owner and Repo name the repository at its host, as in [Repository].
	Owner, Repo string
	// Ref is the tag, branch or commit that is asked for.
	Ref string
	// User is who logs in, where the URL in apps.json says so. See
	// [Source.Login].
	User string
	// Token opens the repository if it is private; unset for a public one. Over
	// SSH it is a private key.
	Token secret.Secret
	// TokenName is the key that Token came from, for instance
	// "DE_MACRS_PAT".
	TokenName string
	// Subject is where the app is named, for instance "apps.json:7", and
	// RefSubject where its ref is.
	Subject, RefSubject string
}

// ForLock returns the sources of a lock's apps: those that are known by their
// addresses, with their tokens, and for the others public ones.
func ForLock(list []release.App, known []Source) ([]Source, error) {
	sources := make([]Source, len(list))
	for i, app := range list {
		at := slices.IndexFunc(known, func(s Source) bool { return s.URL == app.URL })
		if at >= 0 {
			sources[i] = known[at]
		} else {
			repository, fault := parseAddress(app.URL)
			if fault != nil {
				return nil, problem.Problem{Code: fault.code, Subject: app.Name, Detail: fault.detail, Remedy: fault.remedy}
			}
			sources[i] = sourceOf(repository)
			sources[i].Subject, sources[i].RefSubject = app.Name, app.Name
		}
		sources[i].Ref = app.Commit
	}
	return sources, nil
}

// frappeApp is the framework itself, which every bench begins with.
const frappeApp = "frappe"

func sourceOf(r Repository) Source {
	return Source{Name: r.App(), URL: r.URL(), Host: r.Host, Owner: r.Owner, Repo: r.Repo, User: r.User, TokenName: r.TokenName}
}

// SSH reports whether the source is reached over SSH, with a key for a token.
func (s Source) SSH() bool { return strings.HasPrefix(s.URL, "ssh://") }

// Login returns the user name that goes with the token. GitHub, GitLab, Gitea and
// Azure take any with an access token; Bitbucket's page "Access tokens" names one.
func (s Source) Login() string {
	fixed := "x-access-token"
	if s.Host == "bitbucket.org" {
		fixed = "x-token-auth"
	}
	return cmp.Or(s.User, fixed)
}

// path is what the repository is called at its host.
func (s Source) path() string { return strings.TrimPrefix(s.Owner+"/"+s.Repo, "/") }

// PrivateKey returns the key for SSH as that reads it: with the line break at its end,
// which is easily lost, and without those of Windows.
func (s Source) PrivateKey() string {
	return strings.TrimSpace(strings.ReplaceAll(s.Token.Reveal(), "\r", "")) + "\n"
}
