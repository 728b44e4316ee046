package deploy

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Plan is what a run would do. It holds no secret that prints.
type Plan struct {
	Kind    Kind   `json:"kind"`
	Version string `json:"version"`
	// Previous is the version that is live; empty for a first release.
	Previous string `json:"previous,omitempty"`
	// Apps are the apps of both releases.
	Apps []AppChange `json:"apps"`
	// Sites are the sites of the bench, as far as they are known: the run asks
	// the bench for them, and covers all that it has.
	Sites []string `json:"sites"`
	// Images are those beside our own that the compose set needs.
	Images []string `json:"images"`
	// Steps is what the host does, in order.
	Steps []PlannedStep `json:"steps"`
	// RestoreFrom is the run whose backup a rollback brings back; empty where
	// the data stay as they are.
	RestoreFrom string `json:"restore_from,omitempty"`
	// RestoreTime is when that backup was taken, by the host's clock; zero where
	// that is not known.
	RestoreTime time.Time `json:"restore_time,omitzero"`
	// Migrate says that a migration was asked for, whatever changed.
	Migrate bool `json:"migrate,omitempty"`
	// Unneeded is what prune removes.
	Unneeded Unneeded `json:"unneeded"`
	// TLSBefore is how the release that is live has https; empty for not at all.
	TLSBefore string `json:"tls_before,omitempty"`
	// Target is where.
	Target Target `json:"target"`

	lock    release.Lock
	set     *compose.Set
	nextRun int
	seen    seen
	// knownSites are those that were live before.
	knownSites []string
	variables  []string
	// back is the release that a rollback goes back to, and image its image as
	// the host names it.
	back  release.Record
	image string
	// migratedBy is the version that migrated the live data last.
	migratedBy string
	// migratesDown says why a migration would lead to older apps, if it would.
	migratesDown string
	// urlsBefore are the addresses of the release that is live.
	urlsBefore []string
	// untested says that the image is still smoke-tested when the run begins.
	untested bool
}

// AppChange is an app before and after a release.
type AppChange struct {
	Name string `json:"name"`
	// Old is nil for an app that is new, New for one that is removed.
	Old *release.App `json:"old,omitempty"`
	New *release.App `json:"new,omitempty"`
}

// Changed reports whether the app's commit is another one.
func (c AppChange) Changed() bool {
	return c.Old == nil || c.New == nil || c.Old.Commit != c.New.Commit
}

// PlannedStep is a step of a plan, for those who read it.
type PlannedStep struct {
	Name string `json:"name"`
	Does string `json:"does"`
	// Undo says what undoes it; empty where nothing has to.
	Undo string `json:"undo,omitempty"`
	// Critical is set from the step on at which the run can't be stopped any
	// more.
	Critical bool `json:"critical,omitempty"`
	// Settled is set from the step on at which nothing is undone any more.
	Settled bool `json:"settled,omitempty"`
}

// MakePlan returns what putting a lock's version live would do on a host in this
// state, or what is in the way of it: all of it at once. It touches nothing.
// The image need not be there yet.
func MakePlan(ctx context.Context, s State, t Target, lock release.Lock) (Plan, problem.Report) {
	report := t.validate()
	p := Plan{
		Kind: Release, Version: lock.SiteVersion, Sites: s.sites(t), knownSites: s.knownSites(), Target: t, lock: lock, Migrate: t.Migrate,
		Apps: changes(s.Current, lock.Apps), nextRun: s.nextRun(), seen: s.seen(), Unneeded: s.unneeded(lock.SiteVersion, t.keep()),
		migratesDown: s.migratesDown(lock),
	}
	if s.Current != nil {
		p.Previous, p.urlsBefore, p.TLSBefore = s.Current.Version, s.Current.URLs, s.Current.TLS
	}
	report.Add(s.problems(t, lock)...)
	if s.Current != nil {
		report.Add(t.notBeside(*s.Current)...)
	}

	files, unreadable := compose.ReadFiles(t.ComposeFiles)
	report.Add(unreadable...)
	if s.Current != nil && len(t.ComposeFiles) == 0 && !slices.Equal(ownFiles(*s.Current), []string{files[0].Name}) {
		report.Addf("deploy.other-set", "compose files", "name them in COMPOSE_FILES",
			"none are here, and release %s, which is live, was made from %s: the program's own would be another set", s.Current.Version, strings.Join(ownFiles(*s.Current), ", "))
	}
	if len(unreadable) == 0 {
		var withoutProxy problem.Report
		files, withoutProxy = compose.WithTLS(files, t.TLS)
		report.Add(withoutProxy...)
		// Any image will do to read the set with.
		values := p.values("image@sha256:" + strings.Repeat("0", 64))
		plain := map[string]string{}
		for name, value := range values {
			plain[name] = value.Reveal()
		}
		set, unsound := compose.Load(ctx, t.Project, files, plain)
		report.Add(unsound...)
		if set != nil {
			p.set, p.variables = set, set.Variables
			if t.Strategy == Swap {
				report.Add(set.NotBeside...)
			}
			for _, image := range set.Images {
				if image != plain["IMAGE"] {
					p.Images = append(p.Images, image)
				}
			}
			report.Add(s.portProblems(t, set.Ports)...)
			report.Add(s.reachProblems(t)...)
			if !slices.Contains(set.Ports, t.HTTPPort) {
				report.Addf("deploy.http-port", strings.Join(t.ComposeFiles, ", "), "publish ${HTTP_PORT}",
					"no service publishes port %d, on which the site is to answer", t.HTTPPort)
			}
		}
	}

	p.Steps = p.planned()
	return p, report
}

// BesideSmokeTest returns the plan of a release that begins while its image is still
// smoke-tested, see [Deployer.Tested].
func (p Plan) BesideSmokeTest() Plan {
	p.untested = true
	p.Steps = p.planned()
	return p
}

// planned returns the steps as the plan shows them.
func (p Plan) planned() []PlannedStep {
	var steps []PlannedStep
	for _, s := range p.runSpec("", "").steps() {
		steps = append(steps, PlannedStep{Name: s.name, Does: s.does, Undo: s.undo, Critical: s.part >= criticalPart, Settled: s.part >= settledPart})
	}
	return steps
}

// values returns the values of variables that the compose set may refer to.
func (p Plan) values(image string) map[string]secret.Secret {
	values := map[string]secret.Secret{}
	for name, value := range p.Target.Variables {
		values[name] = secret.New(value)
	}
	maps.Copy(values, p.Target.Secrets)
	maps.Copy(values, p.Target.TLS.Variables())
	var apps []string
	for _, app := range p.lock.Apps {
		if app.Name != "frappe" {
			apps = append(apps, app.Name)
		}
	}
	values["IMAGE"] = secret.New(image)
	values["INSTALL_APPS"] = secret.New(strings.Join(apps, " "))
	values["RELEASE"] = secret.New(strconv.Itoa(p.nextRun))
	values["HTTP_PORT"] = secret.New(strconv.Itoa(p.Target.HTTPPort))
	if len(p.Target.Sites) > 0 {
		values["SITE_NAME"] = secret.New(p.Target.Sites[0])
	}
	return values
}

// dotEnv returns the .env of the release: what the compose set refers to and no
// more. What has no value is left out, so that the set's defaults count; but
// compose wants to see a secret's variable, if only empty.
func (p Plan) dotEnv(image string) ([]byte, error) {
	values := p.values(image)
	wanted := map[string]secret.Secret{}
	for _, name := range p.variables {
		value, ok := values[name]
		if !ok && !slices.Contains(p.set.SecretVariables, name) {
			continue
		}
		wanted[name] = value
	}
	return compose.DotEnv(wanted)
}

// seen is what a plan was made for. The runner looks again under the lock, and
// refuses a run where something came between.
type seen struct {
	// newest is the newest run that was started, current what the link current
	// names; both are empty for nothing.
	newest, current string
}

func (s State) seen() seen { return seen{newest: s.newestStarted, current: s.currentLink} }

// facts returns the file planned of the run.
func (s seen) facts() string { return "newest=" + s.newest + "\ncurrent=" + s.current + "\n" }

// runID returns a name for a run. The number puts runs in order; the end keeps two clients
// that count at the same moment apart.
func (p Plan) runID() string {
	return fmt.Sprintf("%06d-%s-%s", p.nextRun, p.Version, strings.ToLower(rand.Text()[:4]))
}

// sites returns the sites of the bench; before there are any, the one that a
// first release makes.
func (s State) sites(t Target) []string {
	if len(s.Sites) > 0 {
		return s.Sites
	}
	return t.Sites
}

// knownSites returns the sites that the live release was recorded with.
func (s State) knownSites() []string {
	if s.Current == nil {
		return nil
	}
	return s.Current.Sites
}

// nextRun returns one more than the number of the newest run. Records and backups
// outlive the folders of their runs, and go by it too.
func (s State) nextRun() int {
	known := slices.Concat(s.runs, s.Backups)
	for _, r := range s.history {
		known = append(known, r.Run)
	}
	newest := 0
	for _, id := range known {
		number, _, _ := strings.Cut(id, "-")
		if n, err := strconv.Atoi(number); err == nil {
			newest = max(newest, n)
		}
	}
	return newest + 1
}

// changes pairs the apps of two releases: those of the new one in its order,
// then those removed.
func changes(current *release.Record, apps []release.App) []AppChange {
	old := map[string]*release.App{}
	var before []release.App
	if current != nil {
		before = current.Lock.Apps
	}
	for i := range before {
		old[before[i].Name] = &before[i]
	}
	var all []AppChange
	for i := range apps {
		all = append(all, AppChange{Name: apps[i].Name, Old: old[apps[i].Name], New: &apps[i]})
		delete(old, apps[i].Name)
	}
	for i := range before {
		if gone := old[before[i].Name]; gone != nil {
			all = append(all, AppChange{Name: gone.Name, Old: gone})
		}
	}
	return all
}

// ownFiles returns the names of the compose files of a release without the one that is
// written for https.
func ownFiles(r release.Record) []string {
	return slices.DeleteFunc(slices.Clone(r.ComposeFiles), func(name string) bool { return name == compose.TLSFile })
}
