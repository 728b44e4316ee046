package apps

import (
	"slices"
	"testing"
)

func TestRefRemedy(t *testing.T) {
	hrms := []string{"v15.13.0", "v15.13.1", "v15.12.0", "v15.33.0", "v14.1.0", "v15.9.2", "nightly"}
	withV16 := append([]string{"v16.2.0", "v16.0.0-beta.1"}, hrms...)
	for _, test := range []struct {
		name, ref      string
		tags, branches []string
		want           string
	}{
		{"a patch too far", "v15.13.9", hrms, nil, "newest is v15.33.0; nearest are v15.13.0, v15.13.1"},
		{"a minor too far", "v15.99.0", hrms, nil, "newest is v15.33.0; nearest are v15.13.0, v15.13.1"},
		{"between two", "v15.10.0", hrms, nil, "newest is v15.33.0; nearest are v15.9.2, v15.12.0"},
		{"an earlier major number", "v15.99.0", withV16, nil, "newest is v16.2.0, newest of version 15 is v15.33.0; nearest are v15.13.0, v15.13.1"},
		{"a major number that is not there", "v13.0.0", hrms, nil, "newest is v15.33.0; nearest are v14.1.0, v15.9.2"},
		{"a pre-release is not the newest", "v16.0.1", []string{"v16.0.0-beta.1", "v15.1.0"}, nil, "newest is v15.1.0, newest of version 16 is v16.0.0-beta.1"},
		{"nothing but pre-releases", "v1.0.0", []string{"v1.0.0-rc1", "v1.0.0-rc2"}, nil, "newest is v1.0.0-rc2; nearest is v1.0.0-rc1"},
		{"the v forgotten", "15.13.1", hrms, nil, "write v15.13.1"},
		{"a v too much", "v1.0.0", []string{"1.0.0"}, nil, "write 1.0.0"},
		{"a single tag", "v2", []string{"v1.0.0"}, nil, "newest is v1.0.0"},
		{"no tags", "v15.1.0", nil, []string{"develop", "version-14", "version-15", "version-15-hotfix"}, "the repository has no tags; nearest branches are version-15, version-15-hotfix, develop"},
		{"a branch misspelt", "verison-15", hrms, []string{"develop", "version-14", "version-15"}, "nearest are version-15, version-14"},
		{"a branch that is like nothing", "hotfix/payroll", hrms, []string{"develop", "version-15"}, "newest tag is v15.33.0; branches are develop, version-15"},
		{"tags that are no versions", "v1.0.0", []string{"nightly", "stable"}, []string{"main"}, "tags are nightly, stable; branches are main"},
		{"many branches", "zzz", nil, []string{"a1", "b2", "c3", "d4", "e5", "f6"}, "branches are a1, b2, c3, d4, e5, …"},
		{"a commit", "0123456789abcdef0123456789abcdef01234567", hrms, []string{"main"}, "newest tag is v15.33.0; branches are main"},
		{"a commit that looks like a version", "1234567", hrms, []string{"main"}, "newest tag is v15.33.0; branches are main"},
		{"nothing at all", "v1", nil, nil, "push the tag or branch, or name one that exists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := refRemedy(test.ref, slices.Clone(test.tags), slices.Clone(test.branches)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
