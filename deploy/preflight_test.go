//go:build unix

package deploy

import (
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// TestProjectStays: a release is refused where the volumes of a site would not be
// found under the project's name.
func TestProjectStays(t *testing.T) {
	for _, tc := range []struct {
		name  string
		state State
		want  string // code of the problem
	}{
		{"nothing there", State{}, ""},
		{"volumes of the project", State{Volumes: map[string][]string{"erp": {"sites"}}}, ""},
		{"volumes of another project", State{Volumes: map[string][]string{"old": {"db-data", "sites"}}}, "deploy.project-other"},
		{"volumes without sites", State{Volumes: map[string][]string{"wiki": {"data"}}}, ""},
		{"containers without a record", State{Containers: []compose.Container{{Name: "erp-db-1"}}}, "deploy.unrecorded"},
		{"a release of another project", State{Current: &release.Record{Project: "old"}}, "deploy.project-changed"},
		{"a release of the project", State{Current: &release.Record{Project: "erp"}}, ""},
	} {
		tc.state.Docker, tc.state.Compose, tc.state.Free, tc.state.DockerFree = "24.0", "2.40.3", -1, -1
		report := tc.state.problems(Target{Dir: "/srv/erp", Project: "erp", Sites: []string{"erp.example.com"}}, lockOf("1.0.0"))
		ok := len(report) == 0
		if tc.want != "" {
			ok = slices.ContainsFunc(report, func(p problem.Problem) bool { return p.Code == tc.want })
		}
		if !ok {
			t.Errorf("%s: want %q, got %v", tc.name, tc.want, report)
		}
	}
}
