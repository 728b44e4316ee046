package deploy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// directionProblems reports a release that would lead the live one back: Frappe
// migrates up and never down.
func (s State) directionProblems(lock release.Lock) problem.Report {
	var report problem.Report
	if s.Current == nil {
		return report
	}
	if versionBelow(lock.SiteVersion, s.Current.Version) {
		report.Addf("deploy.version-older", "site version "+lock.SiteVersion, "release under a version above "+s.Current.Version+", or go back with pipeline rollback",
			"is below %s, which is live", s.Current.Version)
	}
	for _, app := range lock.Apps {
		live, ok := versionIn(s.Current.Lock, app.Name)
		if ok && appBelow(app.Version, live, app.Name == "frappe") {
			report.Addf("deploy.app-older", "app "+app.Name, "release "+live+" or later of it, or go back with pipeline rollback",
				"is version %s, and %s is live: Frappe does not migrate down", app.Version, live)
		}
	}
	return report
}

// migratesDown says which of the releases that migrated the live data had a
// newer app than a lock; empty where none had. After a rollback that is not the
// live one.
func (s State) migratesDown(lock release.Lock) string {
	migrated, _ := s.lineage()
	var found []string
	for _, r := range s.history {
		if r.Rollback || !slices.Contains(migrated, r.Version) {
			continue
		}
		for _, app := range lock.Apps {
			if newer, ok := versionIn(r.Lock, app.Name); ok && appBelow(app.Version, newer, false) {
				found = append(found, fmt.Sprintf("%s is version %s, and %s migrated the data with %s", app.Name, app.Version, r.Version, newer))
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return strings.Join(found, "; ") + ": release newer ones, or go back to before that with --restore-data first"
}

func versionIn(lock release.Lock, name string) (string, bool) {
	for _, app := range lock.Apps {
		if app.Name == name {
			return app.Version, app.Version != ""
		}
	}
	return "", false
}

// appBelow reports whether an app's version is below another one in its major or
// minor number, or with patches in any. Versions that can't be read are not
// compared.
func appBelow(version, than string, patches bool) bool {
	v, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	w, err := semver.NewVersion(than)
	if err != nil {
		return false
	}
	if patches {
		return v.LessThan(w)
	}
	return v.Major() < w.Major() || v.Major() == w.Major() && v.Minor() < w.Minor()
}

// siteVersion is the form of site versions that have an order: 1.1.5, and 1.1.5-1
// for a hotfix of it, which comes after it.
var siteVersion = regexp.MustCompile(`^v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-(\d{1,9}))?$`)

// versionBelow reports whether a site version is below another one. Those of
// other forms have no order.
func versionBelow(version, than string) bool {
	a, b := siteVersion.FindStringSubmatch(version), siteVersion.FindStringSubmatch(than)
	if a == nil || b == nil {
		return false
	}
	numbers := func(match []string) (n []int) {
		for _, text := range match[1:] {
			number, _ := strconv.Atoi(text) // the empty one is 0
			n = append(n, number)
		}
		return n
	}
	return slices.Compare(numbers(a), numbers(b)) < 0
}
