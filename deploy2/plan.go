package deploy

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Plan is what a deploy would do.
type Plan struct {
	Target  Target
	State   State
	Version string
	Lock    release.Lock
	// Services are the services of the compose set.
	Services []string
	// Images are the images of the set beside our own.
	Images []string
	// Run is the name of the run.
	Run string

	variables []string
}

// MakePlan plans to put a lock's version live. It touches nothing: the compose
// set is read with the values that the host will have. The image needs no
// digest yet.
func MakePlan(ctx context.Context, s State, t Target, lock release.Lock) (Plan, problem.Report) {
	p := Plan{Target: t, State: s, Version: lock.SiteVersion, Lock: lock, Run: runID(max(1, s.nextRun), lock.SiteVersion)}
	report := s.Problems(t, lock.SiteVersion)
	// While there is no digest, any image tells the set's checks what is ours.
	placeholder := t.pinned(release.Image{Repository: "image", Digest: "sha256:" + strings.Repeat("0", 64)})
	values := p.values(placeholder)
	plain := map[string]string{}
	for name, value := range values {
		plain[name] = value.Reveal()
	}
	set, setReport := compose.Load(ctx, t.Project, t.Files, plain)
	report.Add(setReport...)
	if set == nil {
		return p, report
	}
	p.Services, p.variables = set.Services, set.Variables
	for _, image := range set.Images {
		if image != placeholder {
			p.Images = append(p.Images, image)
		}
	}
	return p, report
}

// values are the variables of the compose set, those that the pipeline
// supplies included.
func (p Plan) values(image string) map[string]secret.Secret {
	values := maps.Clone(p.Target.Variables)
	if values == nil {
		values = map[string]secret.Secret{}
	}
	values["IMAGE"] = secret.New(image)
	var install []string
	for _, app := range p.Lock.Apps {
		if app.Name != "frappe" {
			install = append(install, app.Name)
		}
	}
	// An empty variable has to be there all the same.
	if len(install) > 0 {
		values["INSTALL_APPS"] = secret.New(strings.Join(install, " "))
	}
	return values
}

// environment is the .env of the release: what its compose set refers to, and
// nothing else. The tokens of the build are not among it.
func (p Plan) environment(image string) ([]byte, error) {
	values := p.values(image)
	maps.DeleteFunc(values, func(name string, _ secret.Secret) bool { return !slices.Contains(p.variables, name) })
	return compose.DotEnv(values)
}

func (p Plan) files() []string {
	var names []string
	for _, file := range p.Target.Files {
		names = append(names, file.Name)
	}
	return names
}

// Change is how an app differs from the release that is live.
type Change struct {
	// Name is the app's.
	Name string
	// Before and After are nil for an app that is new or goes.
	Before, After *release.App
}

// Changes compares the apps of the plan with those that are live, in install
// order.
func (p Plan) Changes() []Change {
	before := map[string]*release.App{}
	if p.State.Current != nil {
		for i := range p.State.Current.Lock.Apps {
			app := &p.State.Current.Lock.Apps[i]
			before[app.Name] = app
		}
	}
	var changes []Change
	for i := range p.Lock.Apps {
		app := &p.Lock.Apps[i]
		changes = append(changes, Change{Name: app.Name, Before: before[app.Name], After: app})
		delete(before, app.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		changes = append(changes, Change{Name: name, Before: before[name]})
	}
	return changes
}

// Does lists what the deploy does, in order.
func (p Plan) Does() []string {
	does := []string{"stage " + p.Target.release(p.Version), "pull the image by its digest, and " + strings.Join(p.Images, ", ")}
	for _, s := range p.steps() {
		does = append(does, s.does)
	}
	return does
}
