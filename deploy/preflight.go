package deploy

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/setup"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

const (
	// minDockerFree is asked for where it is not known how much the image takes:
	// a bench with six apps unpacked.
	minDockerFree = 2 << 30
	// minFree is room for compose sets, journals and logs.
	minFree = 64 << 20
)

// NotReady returns what a host lacks that has not been set up.
func (s State) NotReady(t Target) (report problem.Report) {
	for _, p := range []*problem.Problem{setup.DockerProblem(s.Docker, s.DockerError), setup.ComposeProblem(s.Compose)} {
		if p != nil {
			report.Add(*p)
		}
	}
	if s.Unwritable != "" {
		report.Add(setup.FolderProblem(t.Dir, s.Unwritable))
	}
	return report
}

// hostProblems returns what on the host is in the way of any run.
func (s State) hostProblems(t Target) problem.Report {
	report := s.NotReady(t)
	at := layout{t.Dir}
	need := max(t.NeedBytes, minDockerFree)
	if s.DockerFree >= 0 && s.DockerFree < need {
		report.Addf("deploy.no-room", "Docker's folder on the host", "make room: pipeline prune removes images and backups that no rollback needs; what else takes it up, docker system df shows on the host",
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
			report.Addf("deploy.locked", "deploy lock", "wait for it, or end its command if it still waits for a smoke test; to see what it does: tail -f "+at.log(lock.Run),
				"run %s%s is under way since %s", lock.Run, by, lock.Since.Format("15:04:05 MST"))
		} else {
			remedy := s.finishes(lock.Run)
			if slices.Contains(s.runs, lock.Run) && !s.NoWaker {
				remedy += "; the host itself tries to carry on within a minute"
			}
			report.Addf("deploy.lock-left", "deploy lock", remedy,
				"run %s%s has it, but its process is gone: it was interrupted", cmp.Or(lock.Run, "(the lock can't be read)"), by)
		}
	} else if s.LastRun != nil && (s.LastRun.Status == RunHeld || s.LastRun.Status == RunInterrupted) {
		report.Addf("deploy.run-"+string(s.LastRun.Status), "run "+s.LastRun.ID,
			"see "+at.log(s.LastRun.ID)+" on the host; when the cause is gone, "+s.finishes(s.LastRun.ID),
			"has not come to an end: it is %s", s.LastRun.Status)
	}
	if current := s.currentVersion(); current != "" && s.Current == nil {
		report.Addf("deploy.record-unreadable", "release "+current,
			"put its release.json back from a backup of the host; it names what was released, and without it nothing can be put in its place",
			"is what the link current names, and its record %s can't be read, or it has not gone live", path.Join(t.Dir, "releases", current, recordFile))
	}
	return report
}

// finishes says how a run that waits is brought to its end.
func (s State) finishes(run string) string {
	switch {
	case s.LastRun == nil || s.LastRun.ID != run || !slices.Contains(s.runs, run):
		// It can't be read, or the run's folder is gone.
		return "pipeline unlock --force takes the lock away"
	case s.LastRun.Settled:
		return "pipeline unlock --resume carries on with it; its release is live, and nothing is put back any more"
	}
	return "pipeline unlock --undo puts everything back, and pipeline unlock --resume carries on with it"
}

// problems returns what on the host is in the way of a release.
func (s State) problems(t Target, lock release.Lock) problem.Report {
	report := s.hostProblems(t)
	version := lock.SiteVersion

	if !versionName.MatchString(version) {
		report.Addf("deploy.version", "site version", "use letters, digits, dots, dashes and underscores", "%q can't be the name of a version", version)
	} else if slices.Contains(s.Releases, version) {
		report.Addf("deploy.version-released", "site version "+version, "release under a new version", "is on the host already; a version names one image for ever")
	} else {
		report.Add(s.directionProblems(lock)...)
	}

	if s.Current != nil && s.Current.Project != t.Project {
		report.Addf("deploy.project-changed", "compose project "+t.Project, "set the project's name to "+s.Current.Project,
			"the release that is live has the project %s: its volumes would not be found", s.Current.Project)
	} else if s.Current == nil && s.currentVersion() == "" {
		if len(s.Containers) > 0 {
			report.Addf("deploy.unrecorded", "compose project "+t.Project,
				"take it down with the compose files that it was brought up with (docker compose … down, without --volumes), then release: its volumes are found by their names",
				"has %d containers that no release on record has started", len(s.Containers))
		}
		others := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Volumes)), func(project string) bool {
			return project == t.Project || !slices.Contains(s.Volumes[project], "sites")
		})
		if len(s.Volumes[t.Project]) == 0 && len(others) > 0 {
			report.Addf("deploy.project-other", "compose project "+t.Project,
				"set the project's name to the one whose data is meant",
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
