package e2e

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

// liveSite is a user whose site runs 2.0.0. A release that fails leaves it so.
type liveSite struct {
	*user
	// before is the site's data.
	before string
}

func (s liveSite) in(t *testing.T) liveSite { return liveSite{s.user.in(t), s.before} }

// faults are what goes wrong with a release on the host, besides what a step
// itself survives: package faults has that. Each looks at what the program says
// and at what is left.
var faults = list[liveSite]{
	{"a patch fails", liveSite.patchFails},
	{"a patch fails in a swap", liveSite.patchFailsInSwap},
	{"jobs do not end", liveSite.jobsDoNotEnd},
	{"a container is not healthy", liveSite.unhealthy},
	{"it runs but has no assets", liveSite.noAssets},
	{"the database refuses", liveSite.databaseRefuses},
	{"a hook stops it", liveSite.hookStops},
	{"the disk is full at the backup", liveSite.fullAtBackup},
	{"Ctrl-C before the critical part", liveSite.interrupted},
	{"a migration is killed", liveSite.migrationKilled},
	{"it can't be put back", liveSite.held},
	{"a swap with other data services is refused", liveSite.swapOfDataServices},
	{"a swap whose containers are not healthy", liveSite.unhealthySwap},
	// These release, and go back. The next one has the data of 2.0.0 restored.
	{"two at once, and another migrate", liveSite.twoAtOnce},
	{"back to the release before, with its data", liveSite.rollbackWithData},
	{"prune keeps what a rollback needs", liveSite.prune},
	{"a swap without a migration, and back", liveSite.swapAndBack},
	{"a registry with a password, which expires", liveSite.passwordExpires},
	// From here on 3.3.0 is live.
	{"the disk is full at the migration", liveSite.fullAtMigration},
}

// rare are those of them that are tried with TEST_FAULTS=all alone, because each
// takes a release or two: what they do on the host is what package deploy tries on
// this machine, or what the fault matrix and the other tests here come by.
var rare = []string{
	"jobs do not end",
	"a container is not healthy",
}

// faults has releases fail on the host. The live release is 2.0.0; at the end
// another one is.
func (u *user) faults(t *testing.T) {
	tried := slices.Clone(faults)
	if os.Getenv("TEST_FAULTS") != "all" {
		tried = slices.DeleteFunc(tried, func(s subtest[liveSite]) bool { return slices.Contains(rare, s.name) })
		if len(tried)+len(rare) != len(faults) {
			t.Fatalf("not all of %q are faults", rare)
		}
	}
	u.watchArguments()
	for version, selection := range map[string]apps.Selection{
		"3.0.0": apps.Version1().With("erpnext", "v15.1.2"),                           // a patch fails
		"3.1.0": apps.Version1().With("erpnext", "v15.1.3"),                           // a patch is slow
		"3.2.0": apps.Version1().With("erpnext", "v15.1.1").With("frappe", "v15.1.1"), // no migration
	} {
		u.must(u.command("push", version, selection, "--skip-smoke-test")...)
	}
	tried.run(liveSite{u, u.data()}, t)
}

// deploy returns the arguments of a deploy.
func deploy(version string, flags ...string) []string {
	return append([]string{"deploy", version, "--yes"}, flags...)
}

// asBefore holds that 2.0.0 serves, whole, with its data.
func (s liveSite) asBefore() {
	s.t.Helper()
	s.hasVersion("erpnext", "15.1.1")
	code, page := s.get("/login")
	assets := assetPath.FindAllString(page, -1)
	if code != http.StatusOK || len(assets) == 0 {
		s.t.Errorf("the login page answers %d, with the assets %q", code, assets)
	}
	for _, asset := range assets {
		if code, _ := s.get(asset); code != http.StatusOK {
			s.t.Errorf("%s answers %d", asset, code)
		}
	}
	status := s.must("status")
	if !strings.Contains(status, "version         2.0.0") || strings.Contains(status, "✗") || !strings.Contains(status, "The deploy lock is free") {
		s.t.Errorf("status:\n%s", status)
	}
	for _, service := range []string{"scheduler", "queue-short", "queue-long"} {
		if !regexp.MustCompile(`[✓…] ` + service + ` +running`).MatchString(status) {
			s.t.Errorf("%s does not run:\n%s", service, status)
		}
	}
	if now := s.data(); now != s.before {
		s.t.Errorf("the data have changed:\n%s", firstDifference(s.before, now))
	}
	if crontab := s.onHost("sh", "-c", "crontab -l 2>/dev/null || true"); crontab != "" {
		s.t.Errorf("left in the crontab: %s", crontab)
	}
}

func firstDifference(a, b string) string {
	one, two := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(one), len(two)) {
		if one[i] != two[i] {
			return one[i] + "\n" + two[i]
		}
	}
	return "one is longer"
}
