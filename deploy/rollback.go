package deploy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// rollbackCycle goes back to an earlier release as [cycle] goes on to a new one.
// Nothing is migrated: the databases stay as they are, or are put back.
var rollbackCycle = strategy{
	stoppable: []step{
		checkRelease,
		pull,
		check,
		beforeRollback,
		compare,
		measureDowntime,
		keepAssets,
		drain,
		maintenance,
		drainRest,
		backup,
	},
	critical: []step{
		down,
		up,
		restore,
		verify,
		setURL,
		open,
		record,
	},
	settled: []step{
		workers,
		awaitWorkers,
		endMeasuring,
		afterRollback,
	},
}

// rollbackSwap goes back to an earlier release as [swap] goes on to a new one.
// Nothing is migrated: the databases stay as they are, or are put back.
var rollbackSwap = strategy{
	stoppable: []step{
		checkRelease,
		pull,
		check,
		beforeRollback,
		compare,
		measureDowntime,
		keepAssets,
		startNew,
		drain,
		maintenance,
		switchProxy,
		drainRest,
		backup,
		stopOld,
	},
	critical: []step{
		restore,
		verify,
		setURL,
		open,
		record,
	},
	settled: []step{
		swapWorkers,
		awaitWorkers,
		retire,
		endMeasuring,
		afterRollback,
	},
}

// PlanRollback returns what going back to an earlier release would do, or what
// is in the way of it. An empty version means the one that the live release
// replaced. The databases stay as they are; with restoreData they are put back
// as they were when that release was live last, and what was written since is in
// the backup that the rollback takes first.
func PlanRollback(s State, t Target, version string, restoreData bool) (Plan, problem.Report) {
	report := t.validate()
	p := Plan{Kind: Rollback, Version: version, Target: t, nextRun: s.nextRun(), seen: s.seen()}
	report.Add(s.hostProblems(t)...)
	if s.Current == nil {
		report.Addf("rollback.nothing-live", "rollback", "release a version first", "no release is live")
		return p, report
	}
	p.Previous, p.urlsBefore = s.Current.Version, s.Current.URLs
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
	report.Add(t.notBeside(*s.Current)...)
	report.Add(t.notBeside(p.back)...)
	now, then := compose.TLS{Mode: s.Current.TLS}, compose.TLS{Mode: cmp.Or(p.back.TLS, compose.TLSOff)}
	if now.Ends() && !then.Ends() && cmp.Or(t.TLS.Mode, compose.TLSOff) != then.Mode {
		report.Addf("rollback.tls", "release "+version, "set TLS="+then.Mode+" for this rollback to go back to that, or release its apps under a new version, which keeps https",
			"has TLS=%s and not %s: its proxy answers http alone, and visitors of %s would get no answer", then.Mode, s.Current.TLS, strings.Join(s.Current.URLs, ", "))
	}
	p.lock, p.Sites, p.knownSites = p.back.Lock, s.sites(t), s.knownSites()
	p.Apps = changes(s.Current, p.lock.Apps)
	if p.image = s.images[version]; p.image == "" {
		report.Addf("rollback.image", "release "+version, "bring its image back to the host first: docker pull "+p.back.Image.Pinned(),
			"its image is not on the host any more")
	}
	data, before := s.lineage()
	if len(data) > 0 {
		p.migratedBy = data[len(data)-1]
	}
	if restoreData {
		if backup, ok := s.restorable(version, &report); ok {
			p.RestoreFrom, p.RestoreTime = backup.Run, backup.BackupAt
			s.fit(version, before[backup.Run], false, &report)
		}
	} else {
		_, ok := s.restorable(version, new(problem.Report))
		s.fit(version, data, ok, &report)
	}
	p.Steps = p.planned()
	return p, report
}
