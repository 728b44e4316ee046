package cli

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// What a release starts from fits the runtimes of the next one, or is left.
func TestStartFrom(t *testing.T) {
	next := release.Lock{SiteVersion: "2.0.0", Python: "3.11.6", Node: "18.18.2"}
	before := func(python, node string) *release.Lock {
		return &release.Lock{SiteVersion: "1.0.0", Python: python, Node: node, Requirements: "click==8.1.7\n", Bases: map[string]string{"python": "sha256:0f"}}
	}
	for name, test := range map[string]struct {
		before          *release.Lock
		keep            bool
		bases, packages bool
	}{
		"a first release":            {nil, true, false, false},
		"the same runtimes":          {before("3.11.6", "18.18.2"), true, true, true},
		"another Node":               {before("3.11.6", "20.1.0"), true, false, true},
		"another Python":             {before("3.12.1", "18.18.2"), true, false, false},
		"packages of an earlier day": {before("3.11.6", "18.18.2"), false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := startFrom(next, test.before, test.keep)
			if got.SiteVersion != "2.0.0" || (got.Bases != nil) != test.bases || (got.Requirements != "") != test.packages {
				t.Errorf("got %+v, want bases: %v, packages: %v", got, test.bases, test.packages)
			}
		})
	}
}
