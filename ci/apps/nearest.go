package apps

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// nearestNames gives at most n of the candidates that look most like a name,
// the likest first. What shares too little with it is left out.
func nearestNames(name string, candidates []string, n int) []string {
	type scored struct {
		name     string
		distance int
	}
	var near []scored
	for _, candidate := range candidates {
		distance := editDistance(strings.ToLower(name), strings.ToLower(candidate))
		if distance <= max(1, min(len(name), len(candidate))/2) {
			near = append(near, scored{candidate, distance})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(b.name, a.name))
	})
	names := make([]string, 0, n)
	for _, s := range near[:min(n, len(near))] {
		names = append(names, s.name)
	}
	return names
}

// editDistance counts the characters to insert, delete or replace, and the
// neighbours to swap, that turn a into b.
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			replace := rows[i-1][j-1]
			if s[i-1] != t[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}

// tagVersion is a tag that is a version.
type tagVersion struct {
	tag     string
	version *semver.Version
}

// versionsOf gives the tags that are versions, the newest first.
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

// nearestVersions gives at most n of the versions that are nearest to the one
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

// newest gives the newest version that is no pre-release, of one major number
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
	if near := nearestNames(ref, slices.Concat(branches, tags), 3); len(near) > 0 && !isHex(ref) {
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

// nearestBranches gives the branches that fit a version, the likest first:
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
