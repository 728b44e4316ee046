package apps

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-github/v60/github"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Resolution is what a ref turned out to be.
type Resolution struct {
	Kind release.RefKind
	// Commit is the full SHA, of the commit also where an annotated tag has
	// one of its own.
	Commit string
	// CommittedAt is the committer's date of that commit, in UTC.
	CommittedAt time.Time
	// TokenName is the key of the token that was used; empty without one.
	TokenName string
	// TokenExpires is when that token ends; zero if it doesn't, or if the
	// host doesn't say.
	TokenExpires time.Time
}

// RefResolver turns the ref of a source into a commit. Its error is a
// [problem.Problem], or what ended the context.
type RefResolver interface {
	ResolveRef(ctx context.Context, source Source) (Resolution, error)
}

// expiringWithin is how early a token's end is warned of.
const expiringWithin = 7 * 24 * time.Hour

// atOnce is how many refs are resolved side by side. GitHub allows 100
// requests at once ("Rate limits for the REST API").
const atOnce = 64

// Resolve turns every source into an app at a commit, all side by side. The
// apps are in the order of the sources, with frappe moved to the front. There
// are apps only if there is no problem; the warnings stop nothing. A problem
// that several apps share, such as a refused token, is reported once. An ended
// context is one problem that wraps its error.
func Resolve(ctx context.Context, resolver RefResolver, sources []Source, now time.Time) (resolved []release.App, warnings, problems problem.Report) {
	resolutions := make([]Resolution, len(sources))
	errs := make([]error, len(sources))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, source := range sources {
		group.Go(func() error {
			resolutions[i], errs[i] = resolver.ResolveRef(ctx, source)
			return nil
		})
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, problem.Report{{Code: "apps.interrupted", Subject: "apps", Detail: "resolving the refs was ended: " + err.Error(), Err: err}}
	}
	for i, err := range errs {
		var found problem.Problem
		switch {
		case err == nil:
			continue
		case !errors.As(err, &found):
			found = problem.Problem{Code: "apps.unresolved", Subject: sources[i].Subject, Detail: sources[i].Name + ": " + err.Error(), Err: err}
		}
		problems = addOnce(problems, found)
	}
	for i, r := range resolutions {
		if errs[i] != nil || r.TokenExpires.IsZero() || r.TokenExpires.After(now.Add(expiringWithin)) {
			continue
		}
		warnings = addOnce(warnings, problem.Problem{
			Code: "apps.token-expiring", Subject: r.TokenName,
			Detail: "the token expires on " + r.TokenExpires.UTC().Format("2 January 2006, 15:04 UTC"),
			Remedy: "make a new token on GitHub and put it into " + r.TokenName,
		})
	}
	if len(problems) > 0 {
		return nil, warnings, problems
	}
	for i, r := range resolutions {
		s := sources[i]
		resolved = append(resolved, release.App{Name: s.Name, URL: s.URL, Ref: s.Ref, Kind: r.Kind, Commit: r.Commit, CommittedAt: r.CommittedAt.UTC()})
	}
	if at := slices.IndexFunc(resolved, func(a release.App) bool { return a.Name == frappeApp }); at > 0 {
		frappe := resolved[at]
		resolved = slices.Insert(slices.Delete(resolved, at, at+1), 0, frappe)
	}
	return resolved, warnings, nil
}

// addOnce appends a problem unless the report says the same already.
func addOnce(report problem.Report, p problem.Problem) problem.Report {
	if slices.ContainsFunc(report, func(q problem.Problem) bool {
		return q.Code == p.Code && q.Subject == p.Subject && q.Detail == p.Detail
	}) {
		return report
	}
	return append(report, p)
}

// ResolveRef returns the commit that a source's ref names. A tag goes before a
// branch of the same name, as git has it, and both before a commit.
func (g *GitHub) ResolveRef(ctx context.Context, s Source) (Resolution, error) {
	r := g.open(s)
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
