package deploy

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

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
	// Sites are the sites that are migrated.
	Sites []string `json:"sites"`
	// Images are those beside our own that the compose set needs.
	Images []string `json:"images"`
	// Steps is what the host does, in order.
	Steps []PlannedStep `json:"steps"`
	// RestoreFrom is the run whose backup a rollback brings back; empty where
	// the data stay as they are.
	RestoreFrom string `json:"restore_from,omitempty"`
	// Unneeded is what prune removes.
	Unneeded Unneeded `json:"unneeded"`
	// Target is where.
	Target Target `json:"target"`

	lock      release.Lock
	set       *compose.Set
	nextRun   int
	variables []string
	// back is the release that a rollback goes back to.
	back release.Record
}

// AppChange is an app before and after a release.
type AppChange struct {
	Name string `json:"name"`
	// Old is nil for an app that is new, New for one that is removed.
	Old *release.App `json:"old,omitempty"`
	New *release.App `json:"new,omitempty"`
}

// Changed says whether the app's commit is another one.
func (c AppChange) Changed() bool {
	return c.Old == nil || c.New == nil || c.Old.Commit != c.New.Commit
}

// PlannedStep is a step of the sequence, for people.
type PlannedStep struct {
	Name string `json:"name"`
	Does string `json:"does"`
	// Undo says what undoes it; empty where nothing has to.
	Undo string `json:"undo,omitempty"`
	// Critical is set from the step on at which the run can't be stopped any
	// more.
	Critical bool `json:"critical,omitempty"`
}

const (
	// The oldest versions that the sandbox is tried with, and that have what
	// is used here: docker run --pull, and the !override of compose files.
	minDocker  = ">= 20.10-0"
	minCompose = ">= 2.24.4-0"
	// minDockerFree is asked for where nobody knows how much the image takes:
	// a bench with six apps unpacked.
	minDockerFree = 2 << 30
	// minFree is room for compose sets, journals and logs.
	minFree = 64 << 20
)

// MakePlan says what putting a lock's version live would do on a host in this
// state, or what is in the way of it: all of it at once. It touches nothing.
// The image need not be there yet.
func MakePlan(ctx context.Context, s State, t Target, lock release.Lock) (Plan, problem.Report) {
	report := t.validate()
	p := Plan{
		Kind: Release, Version: lock.SiteVersion, Sites: t.Sites, Target: t, lock: lock,
		Apps: changes(s.Current, lock.Apps), nextRun: s.nextRun(), Unneeded: s.unneeded(lock.SiteVersion, t.keep()),
	}
	if s.Current != nil {
		p.Previous = s.Current.Version
	}
	report.Add(s.problems(t, lock)...)

	files, unreadable := compose.ReadFiles(t.ComposeFiles)
	report.Add(unreadable...)
	if len(unreadable) == 0 {
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
			for _, image := range set.Images {
				if image != plain["IMAGE"] {
					p.Images = append(p.Images, image)
				}
			}
			if !slices.Contains(set.Ports, t.HTTPPort) {
				report.Addf("deploy.http-port", strings.Join(t.ComposeFiles, ", "), "publish ${HTTP_PORT}",
					"no service publishes port %d, on which the site is to answer", t.HTTPPort)
			}
		}
	}

	p.Steps = p.planned()
	return p, report
}

// planned are the steps for people.
func (p Plan) planned() []PlannedStep {
	var steps []PlannedStep
	critical := false
	for _, step := range p.steps() {
		critical = critical || step.critical
		steps = append(steps, PlannedStep{Name: step.name, Does: step.doc, Undo: step.undoDoc, Critical: critical})
	}
	return steps
}

// steps are those of the sequence that this plan has.
func (p Plan) steps() []runStep { return stepsOf(p.runSpec("", "")) }

// runSpec is what the plan's run is made from, with the name of the run and of
// the image as the host has it.
func (p Plan) runSpec(id, image string) runSpec {
	t := p.Target
	l := runSpec{
		layout: layout{t.Dir}, id: id, number: p.nextRun, kind: p.Kind, strategy: t.Strategy, version: p.Version, image: image,
		project: t.Project, previous: p.Previous, sites: p.Sites, port: t.HTTPPort, files: t.BackupFiles, hooks: t.Hooks,
		unneeded: p.Unneeded, drainLimit: int(t.DrainLimit.Seconds()),
	}
	if l.strategy == "" {
		l.strategy = Cycle
	}
	if l.drainLimit == 0 {
		l.drainLimit = 300
	}
	if p.RestoreFrom != "" {
		l.restoreFrom = l.backup(p.RestoreFrom)
	}
	return l
}

// values are the values of variables that the compose set may refer to.
func (p Plan) values(image string) map[string]secret.Secret {
	values := map[string]secret.Secret{}
	for name, value := range p.Target.Variables {
		values[name] = secret.New(value)
	}
	maps.Copy(values, p.Target.Secrets)
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

// dotEnv is the .env of the release: what the compose set refers to and no
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

// runID names a run. The number puts runs in order; the end keeps two clients
// that count at the same moment apart.
func (p Plan) runID() string {
	return fmt.Sprintf("%06d-%s-%s", p.nextRun, p.Version, strings.ToLower(rand.Text()[:4]))
}

// nextRun is one more than the number of the newest run.
func (s State) nextRun() int {
	newest := 0
	for _, id := range s.runs {
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

// hostProblems is what on the host is in the way of any run.
func (s State) hostProblems(t Target) problem.Report {
	var report problem.Report
	at := layout{t.Dir}

	switch {
	case s.Docker == "":
		report.Addf("deploy.docker", "docker on the host", "install Docker Engine, start it, and let the user of the host use it (group docker)",
			"does not answer: %s", strings.TrimSpace(s.DockerError))
	case older(s.Docker, minDocker):
		report.Addf("deploy.docker", "docker on the host", "install a newer Docker Engine", "is version %s; 20.10 or later is needed", s.Docker)
	}
	switch {
	case s.Compose == "":
		report.Addf("deploy.compose", "docker compose on the host", "install the compose plugin, version 2.24.4 or later", "does not answer")
	case older(s.Compose, minCompose):
		report.Addf("deploy.compose", "docker compose on the host", "install a newer compose plugin", "is version %s; 2.24.4 or later is needed", s.Compose)
	}
	if s.Unwritable != "" {
		report.Addf("deploy.unwritable", t.Dir, "make the folder on the host and give it to the user who deploys", "can't be written: %s does not allow it", s.Unwritable)
	}
	need := max(t.NeedBytes, minDockerFree)
	if s.DockerFree >= 0 && s.DockerFree < need {
		report.Addf("deploy.no-room", "Docker's folder on the host", "make room: docker image prune --all removes images that no container uses",
			"has %d MiB left, %d MiB are needed", s.DockerFree>>20, need>>20)
	}
	if s.Free >= 0 && s.Free < minFree {
		report.Addf("deploy.no-room", t.Dir, "make room there", "has %d MiB left, %d MiB are needed", s.Free>>20, int64(minFree)>>20)
	}

	if lock := s.Lock; lock != nil {
		by := ""
		if lock.Owner != "" {
			by = " of " + lock.Owner
		}
		if lock.Status == RunRunning {
			report.Addf("deploy.locked", "deploy lock", "wait for it; to see what it does: tail -f "+at.log(lock.Run),
				"run %s%s is under way since %s", lock.Run, by, lock.Since.Format("15:04:05 MST"))
		} else {
			report.Addf("deploy.lock-left", "deploy lock",
				"pipeline unlock --resume carries on with it, pipeline unlock --undo puts everything back; the host itself tries to carry on within a minute",
				"run %s%s has it, but its process is gone: it was interrupted", lock.Run, by)
		}
	} else if s.LastRun != nil && (s.LastRun.Status == RunHeld || s.LastRun.Status == RunInterrupted) {
		report.Addf("deploy.run-"+string(s.LastRun.Status), "run "+s.LastRun.ID,
			"see "+at.log(s.LastRun.ID)+" on the host; when the cause is gone, pipeline unlock --undo puts everything back, and pipeline unlock --resume carries on with it",
			"has not come to an end: it is %s", s.LastRun.Status)
	}
	return report
}

// problems is what on the host is in the way of a release.
func (s State) problems(t Target, lock release.Lock) problem.Report {
	report := s.hostProblems(t)
	version := lock.SiteVersion

	if !versionName.MatchString(version) {
		report.Addf("deploy.version", "site version", "use letters, digits, dots, dashes and underscores", "%q can't be the name of a version", version)
	} else if slices.Contains(s.Releases, version) {
		report.Addf("deploy.version-released", "site version "+version, "release under a new version", "is on the host already; a version names one image for ever")
	}

	if s.Current != nil && s.Current.Project != t.Project {
		report.Addf("deploy.project-changed", "compose project "+t.Project, "set the project's name to "+s.Current.Project,
			"the release that is live has the project %s: its volumes would not be found", s.Current.Project)
	} else if s.Current == nil {
		if len(s.Containers) > 0 {
			report.Addf("deploy.unrecorded", "compose project "+t.Project,
				"take it down with the compose files that it was brought up with (docker compose … down, without --volumes), then release: its volumes are found by their names",
				"has %d containers that no release on record has started", len(s.Containers))
		}
		others := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Volumes)), func(project string) bool {
			return project == t.Project || !slices.Contains(s.Volumes[project], "sites")
		})
		if len(s.Volumes[t.Project]) == 0 && len(others) > 0 && !t.NewProject {
			report.Addf("deploy.project-other", "compose project "+t.Project,
				"set the project's name to the one whose data is meant; for a bench of its own, allow a new project",
				"has no volumes, but there are sites of %s: is that the name?", strings.Join(others, ", "))
		}
	}
	if len(s.MissingImages) > 0 {
		report.Addf("deploy.previous-image", "release "+s.Current.Version, "pull them on the host again",
			"images of it are not on the host any more, so there would be no way back to it: %s", strings.Join(s.MissingImages, ", "))
	}
	if len(s.Sites) > 0 {
		for _, site := range t.Sites {
			if !slices.Contains(s.Sites, site) {
				report.Addf("deploy.site-missing", "site "+site, "make it with bench new-site, or correct its name",
					"is not on the running bench; there are %s", strings.Join(s.Sites, ", "))
			}
		}
	} else if s.Current == nil && len(s.Volumes[t.Project]) == 0 {
		for _, site := range t.Sites[min(1, len(t.Sites)):] {
			report.Addf("deploy.site-missing", "site "+site, "release with the first site alone, then make the others",
				"is not there: a first release makes only the first site")
		}
	}
	return report
}

// older says whether a version is known to be older than wanted. One that
// can't be read, as of a distribution's own build, is given the benefit of the
// doubt.
func older(version, wanted string) bool {
	number, _, _ := strings.Cut(version, "+")
	v, err := semver.NewVersion(number)
	if err != nil {
		return false
	}
	constraint, err := semver.NewConstraint(wanted)
	return err == nil && !constraint.Check(v)
}
