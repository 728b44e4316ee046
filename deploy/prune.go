package deploy

import (
	"maps"
	"slices"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// pruning removes what no rollback needs, and does nothing else. What was
// removed can't be had back, so there is nothing to stop or undo.
var pruning = strategy{
	critical: []step{
		prune,
	},
}

// Unneeded is what takes up room on a host and is of use to no rollback.
type Unneeded struct {
	// Versions are releases whose images can go, Backups runs whose backups
	// can. Records, compose sets and journals stay: they are small.
	Versions []string `json:"versions,omitempty"`
	Backups  []string `json:"backups,omitempty"`
	// OnlyCopies are runs whose backups stay though no rollback needs them: they
	// hold what is nowhere else.
	OnlyCopies []string `json:"only_copies,omitempty"`
	// onlyCopies says that these may go as well.
	onlyCopies bool
}

// Empty reports whether there is nothing.
func (u Unneeded) Empty() bool { return len(u.Versions)+len(u.Backups) == 0 }

// unneeded returns what can go once a version is live and the keep releases before
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
	for _, version := range slices.Sorted(maps.Keys(s.images)) {
		if !slices.Contains(kept, version) {
			u.Versions = append(u.Versions, version)
		}
	}
	only := s.onlyCopies()
	newest := ""
	for _, r := range s.history {
		newest = max(newest, r.Run)
	}
	for _, id := range s.Backups {
		// One of an attempt that failed since may be looked into still.
		if id > newest || slices.ContainsFunc(kept, func(version string) bool { backup, ok := s.backupOf(version); return ok && backup.Run == id }) {
			continue
		}
		if slices.Contains(only, id) {
			u.OnlyCopies = append(u.OnlyCopies, id)
		} else {
			u.Backups = append(u.Backups, id)
		}
	}
	return u
}

// PlanPrune returns what removing from a host what no rollback needs would do,
// or what is in the way of it. Backups that hold what is nowhere else stay,
// unless onlyCopies is given.
func PlanPrune(s State, t Target, onlyCopies bool) (Plan, problem.Report) {
	report := t.validate()
	report.Add(s.hostProblems(t)...)
	p := Plan{Kind: Prune, Target: t, Sites: t.Sites, nextRun: s.nextRun(), seen: s.seen()}
	if s.Current != nil {
		p.Version, p.Previous = s.Current.Version, s.Current.Version
		p.lock, p.back = s.Current.Lock, *s.Current
		p.Unneeded = s.unneeded(s.Current.Version, t.keep())
		if p.Unneeded.onlyCopies = onlyCopies; onlyCopies {
			p.Unneeded.Backups = append(p.Unneeded.Backups, p.Unneeded.OnlyCopies...)
			slices.Sort(p.Unneeded.Backups)
			p.Unneeded.OnlyCopies = nil
		}
	}
	p.Steps = p.planned()
	return p, report
}
