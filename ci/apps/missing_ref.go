package apps

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// tagVersion is a tag that is a version.
type tagVersion struct {
	tag     string
	version *semver.Version
}

// versionsOf returns the tags that are versions, the newest first.
func versionsOf(tags []string) []tagVersion {
	var versions []tagVersion
	for _, tag := range tags {
		if version, err := semver.NewVersion(tag); err == nil {
			versions = append(versions, tagVersion{tag, version})
		}
	}
	slices.SortStableFunc(versions, func(a, b tagVersion) int { return b.version.Compare(a.version) })
	return versions
}

// nearestVersions returns at most n of the versions that are nearest to the one
// asked for, in ascending order: the same major and minor number first, then
// the same major number, then the others.
func nearestVersions(asked *semver.Version, versions []tagVersion, n int) []tagVersion {
	near := slices.Clone(versions)
	slices.SortStableFunc(near, func(a, b tagVersion) int {
		return slices.Compare(versionDistance(asked, a.version), versionDistance(asked, b.version))
	})
	near = near[:min(n, len(near))]
	slices.SortStableFunc(near, func(a, b tagVersion) int { return a.version.Compare(b.version) })
	return near
}

// versionDistance is how far two versions are apart, the heaviest part first.
func versionDistance(a, b *semver.Version) []uint64 {
	apart := func(x, y uint64) uint64 { return max(x, y) - min(x, y) }
	var prerelease uint64
	if a.Prerelease() != b.Prerelease() {
		prerelease = 1
	}
	return []uint64{apart(a.Major(), b.Major()), apart(a.Minor(), b.Minor()), apart(a.Patch(), b.Patch()), prerelease}
}

// newest returns the newest version that is no pre-release, of one major number
// if major is not nil, or the newest pre-release where there is nothing else.
func newest(versions []tagVersion, major *uint64) (tagVersion, bool) {
	var best tagVersion
	for _, v := range versions {
		switch {
		case major != nil && v.version.Major() != *major:
		case v.version.Prerelease() == "":
			return v, true
		case best.version == nil:
			best = v
		}
	}
	return best, best.version != nil
}

// refRemedy says which refs a repository has instead of a missing one.
func refRemedy(ref string, tags, branches []string) string {
	if len(tags) == 0 && len(branches) == 0 {
		return "push the tag or branch, or name one that exists"
	}
	versions := versionsOf(tags)
	asked, err := semver.NewVersion(ref)
	if err != nil || isHex(ref) {
		return nameRemedy(ref, versions, tags, branches)
	}
	if len(tags) == 0 {
		return "the repository has no tags; nearest branches are " + strings.Join(nearestBranches(asked, branches, 3), ", ")
	}
	if same := slices.IndexFunc(versions, func(v tagVersion) bool { return v.version.Equal(asked) }); same >= 0 {
		return "write " + versions[same].tag
	}
	latest, found := newest(versions, nil)
	if !found {
		return nameRemedy(ref, versions, tags, branches)
	}
	remedy := "newest is " + latest.tag
	major := asked.Major()
	ofMajor, found := newest(versions, &major)
	if found && ofMajor.tag != latest.tag {
		remedy += ", newest of version " + strconv.FormatUint(major, 10) + " is " + ofMajor.tag
	}
	others := slices.DeleteFunc(slices.Clone(versions), func(v tagVersion) bool {
		return v.tag == latest.tag || v.tag == ofMajor.tag
	})
	near := nearestVersions(asked, others, 2)
	if len(near) == 0 {
		return remedy
	}
	names := make([]string, len(near))
	for i, v := range near {
		names[i] = v.tag
	}
	return remedy + "; " + nearestAre(names)
}

// nameRemedy is refRemedy for a ref that is no version.
func nameRemedy(ref string, versions []tagVersion, tags, branches []string) string {
	// Among names that are equally alike, the newer version comes first.
	names := slices.Concat(branches, tags)
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(b, a) })
	if near := problem.NearestOf(ref, names, 3, 2); len(near) > 0 && !isHex(ref) {
		return nearestAre(near)
	}
	var parts []string
	if latest, found := newest(versions, nil); found {
		parts = append(parts, "newest tag is "+latest.tag)
	} else if len(tags) > 0 {
		parts = append(parts, "tags are "+enumerate(tags))
	}
	if len(branches) > 0 {
		parts = append(parts, "branches are "+enumerate(branches))
	}
	return strings.Join(parts, "; ")
}

// nearestBranches returns the branches that fit a version, the likest first:
// those that name its major number, as version-15 does, come before the others.
func nearestBranches(asked *semver.Version, branches []string, n int) []string {
	major := strconv.FormatUint(asked.Major(), 10)
	near := slices.Clone(branches)
	slices.SortStableFunc(near, func(a, b string) int {
		has := func(s string) int {
			if slices.Contains(strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }), major) {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(has(a), has(b)), cmp.Compare(len(a), len(b)), cmp.Compare(b, a))
	})
	return near[:min(n, len(near))]
}

func nearestAre(names []string) string {
	if len(names) == 1 {
		return "nearest is " + names[0]
	}
	return "nearest are " + strings.Join(names, ", ")
}

// enumerate names the first few.
func enumerate(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
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
	return refMissing(s, tags, branches)
}

func refMissing(s Source, tags, branches []string) error {
	return problem.Problem{Code: "apps.ref-missing", Subject: s.RefSubject,
		Detail: fmt.Sprintf("%s %s: no such tag, branch or commit in %s", s.Name, tokenShape.ReplaceAllString(s.Ref, secret.Mask), s.path()),
		Remedy: refRemedy(s.Ref, tags, branches)}
}

// tags and branches return the names that a remedy may propose. What can't be
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
	// pageSize is the most that GitHub lists at once.
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
