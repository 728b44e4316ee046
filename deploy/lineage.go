package deploy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// lineage returns by which versions the live data were migrated, and by which
// those that each run found, which are those of its backup. A rollback leaves
// data as they are, or puts those in their place that another run found.
func (s State) lineage() (live []string, before map[string][]string) {
	before = map[string][]string{}
	for _, r := range slices.Backward(s.history) {
		before[r.Run] = live
		switch {
		case !r.Rollback:
			live = append(slices.Clip(live), r.Version)
		case r.RestoredFrom != "":
			earlier, ok := before[r.RestoredFrom]
			if !ok {
				// Its record is gone: what is sure is the version that had them.
				earlier = []string{r.Version}
			}
			live = earlier
		}
	}
	return live, before
}

// lastReplaced returns the record of what replaced a version when it was live
// last.
func (s State) lastReplaced(version string) (release.Record, bool) {
	at := slices.IndexFunc(s.history, func(r release.Record) bool { return r.Previous == version })
	if at < 0 {
		return release.Record{}, false
	}
	return s.history[at], true
}

// backupOf returns the record of the newest run that took a backup when a
// version was replaced.
func (s State) backupOf(version string) (release.Record, bool) {
	at := slices.IndexFunc(s.history, func(r release.Record) bool {
		return r.Previous == version && slices.Contains(s.Backups, r.Run)
	})
	if at < 0 {
		return release.Record{}, false
	}
	return s.history[at], true
}

// restorable returns the record of the run whose backup has the data of a version
// as they were when it was live last. A backup from before that is none: what
// was written since would be lost.
func (s State) restorable(version string, report *problem.Report) (release.Record, bool) {
	backup, found := s.backupOf(version)
	replaced, _ := s.lastReplaced(version)
	switch {
	case !found:
		report.Addf("rollback.backup", "release "+version, "go back without --restore-data, or restore a backup of your own with pipeline bench -- --site SITE restore",
			"the backup from when it was replaced is not on the host; there are %s", orNone(s.Backups))
	case backup.Run != replaced.Run:
		report.Addf("rollback.backup-older", "release "+version,
			"go back without --restore-data; the backup stays in backups/"+backup.Run+" on the host, for you to restore by hand",
			"its newest backup is from %s (run %s), and it was live again until %s, when run %s took none: what was written between would be lost",
			clock(backup.BackupAt), backup.Run, clock(replaced.BackupAt), replaced.Run)
		return release.Record{}, false
	}
	return backup, found
}

// fit reports a version over data that it never migrated: those of an earlier
// one were put back since.
func (s State) fit(version string, data []string, restorable bool, report *problem.Report) {
	if len(data) == 0 || slices.Contains(data, version) {
		return
	}
	remedy := "release its apps once more under a new version, which migrates"
	if restorable {
		remedy += "; or add --restore-data, which brings its own data back as well"
	}
	report.Addf("rollback.newer", "release "+version, remedy,
		"the data are those of %s, as they were before %s migrated them, and a rollback does not migrate", data[len(data)-1], version)
}

// onlyCopies returns the runs whose backups hold what is nowhere else: what was
// written before other data took its place.
func (s State) onlyCopies() []string {
	var runs []string
	for _, id := range s.Backups {
		if slices.Contains(s.afterDumps, id) || slices.ContainsFunc(s.history, func(r release.Record) bool {
			return r.Run == id && r.RestoredFrom != ""
		}) {
			runs = append(runs, id)
		}
	}
	return runs
}

// clock returns a time of the host's clock, for people.
func clock(t time.Time) string {
	if t.IsZero() {
		return "a time that is not known"
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}

// Data says which data a rollback leaves.
func (p Plan) Data() string {
	if p.RestoreFrom == "" && p.migratedBy != "" && p.migratedBy != p.Version {
		return "The databases stay as " + p.migratedBy + " migrated them (--restore-data puts them back too)."
	}
	if p.RestoreFrom == "" {
		return "The databases stay as they are (--restore-data puts them back too)."
	}
	return fmt.Sprintf("The databases are put back as they were at %s, from the backup of run %s: what was written since then is only in the backup that this takes first.",
		p.RestoreClock(), p.RestoreFrom)
}

// RestoreClock returns when the backup that a rollback brings back was taken, for
// people.
func (p Plan) RestoreClock() string { return clock(p.RestoreTime) }

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
