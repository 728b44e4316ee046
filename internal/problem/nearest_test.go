package problem_test

import (
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestNearest(t *testing.T) {
	known := []string{"backend", "frontend", "queue-short", "queue-long"}
	for name, want := range map[string]string{
		"backend": "backend", "bakcend": "backend", "front-end": "frontend", "queue_long": "queue-long", "queue-sort": "queue-short",
		"database": "", "": "", "b": "",
	} {
		if got := problem.Nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// The distances are those of letters put in, left out, replaced or swapped.
func TestNearestCountsLetters(t *testing.T) {
	for _, test := range []struct {
		name, known string
		near        bool
	}{
		{"a", "", true}, {"branch", "branch", true}, {"brnach", "branch", true}, {"bnarch", "branch", true}, {"url", "urls", true}, {"ulr", "url", true}, {"ü", "u", true},
		{"BRANCH", "branch", true}, {"sitting", "kitten", false}, {"üü", "uu", false}, {"lru", "url", false}, {"url", "urlsx", false},
	} {
		if got := problem.Nearest(test.name, []string{test.known}) == test.known && len(problem.NearestOf(test.name, []string{test.known}, 1, 3)) == 1; got != test.near {
			t.Errorf("%q and %q: near is %t, want %t", test.name, test.known, got, test.near)
		}
	}
}

func TestNearestOf(t *testing.T) {
	known := []string{"version-15", "version-14", "develop", "version-15-hotfix", "verizon-15"}
	for name, test := range map[string]struct {
		n, share int
		want     []string
	}{
		"verison-15": {3, 3, []string{"version-15", "verizon-15", "version-14"}},
		"version-16": {2, 3, []string{"version-15", "version-14"}},
		"devel":      {3, 3, []string{}},
		"vers-15":    {1, 2, []string{"version-15"}},
		"develop":    {3, 3, []string{"develop"}},
	} {
		if got := problem.NearestOf(name, known, test.n, test.share); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", name, got, test.want)
		}
	}
}
