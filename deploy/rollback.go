package deploy

import (
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// PlanRollback says what going back to an earlier release would do, or what is
// in the way of it. An empty version means the one that the live release
// replaced. The databases stay as they are; with restoreData they are put back
// as they were when that release was replaced, and what was written since is in
// the backup that the rollback takes first.
func PlanRollback(s State, t Target, version string, restoreData bool) (Plan, problem.Report) {
	report := t.validate()
	p := Plan{Kind: Rollback, Version: version, Target: t, nextRun: s.nextRun()}
	report.Add(s.hostProblems(t)...)
	if s.Current == nil {
		report.Addf("rollback.nothing-live", "rollback", "release a version first", "no release is live")
		return p, report
	}
	p.Previous = s.Current.Version
	if version == "" {
		version = s.Current.Previous
		p.Version = version
	}
	back := slices.IndexFunc(s.history, func(r release.Record) bool { return !r.Rollback && r.Version == version })
	switch {
	case version == "":
		report.Addf("rollback.first", "rollback", "name the version to go back to", "%s is the first release: it replaced none", p.Previous)
		return p, report
	case version == p.Previous:
		report.Addf("rollback.live", "version "+version, "name another version; pipeline history lists them", "is what is live")
		return p, report
	case back < 0 || !slices.Contains(s.Releases, version):
		report.Addf("rollback.unknown", "version "+version, "pipeline history lists the versions that were live", "was never live on this host")
		return p, report
	}
	p.back = s.history[back]
	p.lock, p.Sites = p.back.Lock, p.back.Sites
	p.Apps = changes(s.Current, p.lock.Apps)
	if !slices.Contains(s.withImage, version) {
		report.Addf("rollback.image", "release "+version, "bring its image back to the host first: docker pull "+p.back.Image.Pinned(),
			"its image is not on the host any more")
	}
	if restoreData {
		if p.RestoreFrom = s.backupOf(version); p.RestoreFrom == "" {
			report.Addf("rollback.backup", "release "+version, "go back without --restore-data, or restore a backup of your own with pipeline bench -- --site SITE restore",
				"the backup from when it was replaced is not on the host; there are %s", orNone(s.Backups))
		}
	}
	p.Steps = p.planned()
	return p, report
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// backupOf gives the newest run that took a backup when a version was replaced.
func (s State) backupOf(version string) string {
	for _, r := range s.history {
		if r.Previous == version && slices.Contains(s.Backups, r.Run) {
			return r.Run
		}
	}
	return ""
}

// Unneeded is what takes up room on a host and is of use to no rollback.
type Unneeded struct {
	// Versions are releases whose images can go, Backups runs whose backups
	// can. Records, compose sets and journals stay: they are small.
	Versions []string `json:"versions,omitempty"`
	Backups  []string `json:"backups,omitempty"`
}

// Empty says whether there is nothing.
func (u Unneeded) Empty() bool { return len(u.Versions)+len(u.Backups) == 0 }

// unneeded is what can go once a version is live and the keep releases before
// it can be gone back to.
func (s State) unneeded(live string, keep int) Unneeded {
	kept := []string{live}
	for _, r := range s.history {
		if len(kept) <= keep && !slices.Contains(kept, r.Version) {
			kept = append(kept, r.Version)
		}
	}
	if len(kept) <= keep {
		// The backup from before the first release.
		kept = append(kept, "")
	}
	if s.Current != nil {
		kept = append(kept, s.Current.Version)
	}
	var u Unneeded
	for _, version := range s.withImage {
		if !slices.Contains(kept, version) {
			u.Versions = append(u.Versions, version)
		}
	}
	newest := ""
	for _, r := range s.history {
		newest = max(newest, r.Run)
	}
	for _, id := range s.Backups {
		// One of an attempt that failed since may be looked into still.
		if id <= newest && !slices.ContainsFunc(kept, func(version string) bool { return s.backupOf(version) == id }) {
			u.Backups = append(u.Backups, id)
		}
	}
	return u
}

// PlanPrune says what can be removed from a host.
func PlanPrune(s State, t Target) (Plan, problem.Report) {
	report := t.validate()
	report.Add(s.hostProblems(t)...)
	p := Plan{Kind: Prune, Target: t, Sites: t.Sites, nextRun: s.nextRun()}
	if s.Current != nil {
		p.Version, p.Previous = s.Current.Version, s.Current.Version
		p.lock, p.back = s.Current.Lock, *s.Current
		p.Unneeded = s.unneeded(s.Current.Version, t.keep())
	}
	p.Steps = p.planned()
	return p, report
}
