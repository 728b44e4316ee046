package cli

import (
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// An image whose name was changed finds the stages beside the one that runs.
func TestStagesBeside(t *testing.T) {
	remote := registry.Target{Host: "registry.example.com", Name: "acme/new"}
	local := registry.Target{Host: "127.0.0.1:34567", Name: "acme/new", PulledAs: "acme/new"}
	r := registries{stages: []registry.Target{remote, local}}
	for label, test := range map[string]struct {
		running string
		want    []string
	}{
		"nothing":           {"", nil},
		"the same":          {"registry.example.com/acme/new", nil},
		"another":           {"registry.example.com/acme/old", []string{"registry.example.com/acme/old"}},
		"from this machine": {"acme/old", []string{"127.0.0.1:34567/acme/old"}},
		"of elsewhere":      {"other.example.com/acme/old", nil},
	} {
		t.Run(label, func(t *testing.T) {
			state := &deploy.State{}
			if test.running != "" {
				state.Current = &release.Record{Image: release.Image{Repository: test.running}}
			}
			var more []string
			for _, target := range r.stagesBeside(state)[2:] {
				more = append(more, target.Repository())
			}
			if !slices.Equal(more, test.want) {
				t.Errorf("looked for in %q, want %q", more, test.want)
			}
		})
	}
	if got := r.stagesBeside(nil); !slices.Equal(got, r.stages) {
		t.Errorf("without a host: %v", got)
	}
}
