package image

import (
	"slices"
	"testing"
)

// A front end that is built is in the image as what was built of it.
func TestSourceLeavesFrontEndsOut(t *testing.T) {
	b := exampleBuilder(t)
	for name, want := range map[string][]string{
		"hrms":   {"./.git", "./.github", "./cypress", "./frontend", "./roster"},
		"frappe": {"./.git", "./.github", "./cypress"},
	} {
		a := &b.apps[slices.Index(exampleApps, name)]
		s := b.source(a)
		if want := keyOf("app", name, a.CommittedAt.Unix(), want, packScript, entries(a.files, func(string) bool { return true })); s.key != want {
			t.Errorf("%s: another key than with these left out: %q", name, want)
		}
		if want := name + " " + a.Ref + " " + a.Commit; s.history != want {
			t.Errorf("history %q, want %q", s.history, want)
		}
	}
}
