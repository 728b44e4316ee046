package cli

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// registries are those that a command works with.
type registries struct {
	// embedded is the registry in this process.
	embedded *registry.Embedded
	// target is where the image goes to: the embedded one if none is set.
	target registry.Target
	// stages are where stages of builds are looked for; the first is written to.
	stages []registry.Target
}

// openRegistries starts the embedded registry, in which what was built here
// before lies, and finds out which registries are used beside it.
func openRegistries(ctx context.Context, in inputs, need config.Need) (registries, error) {
	embedded, err := registry.Serve(ctx, filepath.Join(in.cache, "images"))
	if err != nil {
		return registries{}, err
	}
	name := imageName(in.config)
	local := registry.Target{Host: embedded.Address(), Name: name, PulledAs: name}
	r := registries{embedded: embedded, target: local, stages: []registry.Target{local}}
	if remote, set := registryTarget(in.config); set {
		r.target = remote
		if need&config.Push != 0 {
			r.stages = []registry.Target{remote, local}
		}
	}
	return r, nil
}

// stagesBeside returns where stages are looked for, beside the image that the host runs
// as well: it may have another name.
func (r registries) stagesBeside(state *deploy.State) []registry.Target {
	stages := slices.Clone(r.stages)
	if state == nil || state.Current == nil {
		return stages
	}
	for _, target := range r.stages {
		if other, ok := target.Sibling(state.Current.Image.Repository); ok {
			stages = append(stages, other)
		}
	}
	return stages
}

func (r registries) close() { _ = r.embedded.Close() }
