package apps

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Newest returns the newest tag with a major number that is a version of a
// repository, and empty where it has none; a pre-release only where there is nothing
// else. url is written as in apps.json; lookup returns the value of a placeholder in
// it. The error is a [problem.Problem], or what ended the context.
func (v Servers) Newest(ctx context.Context, url string, major uint64, lookup func(name string) (secret.Secret, bool)) (string, error) {
	repository, fault := parseRepository(url)
	if fault != nil {
		return "", problem.Problem{Code: fault.code, Subject: "app", Detail: fault.detail, Remedy: fault.remedy}
	}
	s := sourceOf(repository)
	s.Subject, s.RefSubject = s.Name, s.Name
	if s.TokenName != "" {
		s.Token, _ = lookup(s.TokenName)
	}
	var tags []string
	var err error
	if v.GitHub.has(s) {
		tags, err = v.GitHub.open(s).tagsOf(ctx, major)
	} else {
		var all refs
		all, err = v.Git.refs(ctx, s)
		tags = all.names(tagRefs)
	}
	if err != nil {
		return "", err
	}
	found, _ := newest(versionsOf(tags), &major)
	return found.tag, nil
}

// tagsOf returns the tags that begin with a major number, as v15.0.0 does.
func (r repository) tagsOf(ctx context.Context, major uint64) ([]string, error) {
	prefix := "v" + strconv.FormatUint(major, 10) + "."
	found, response, err := r.client.Git.ListMatchingRefs(ctx, r.source.Owner, r.source.Repo, &github.ReferenceListOptions{Ref: "tags/" + prefix})
	if err != nil {
		if err = r.objectError(ctx, response, err); errors.Is(err, errNoObject) {
			return nil, nil
		}
		return nil, err
	}
	tags := make([]string, len(found))
	for i, ref := range found {
		tags[i] = strings.TrimPrefix(ref.GetRef(), tagRefs)
	}
	return tags, nil
}
