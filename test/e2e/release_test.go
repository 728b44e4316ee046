package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

// TestRelease is the whole way on one sandbox, in the order in which a user
// would go it: a first release, one over it, those that fail, and what the
// program says of them.
func TestRelease(t *testing.T) {
	t.Parallel() // beside TestMirrors
	u := newUser(t, sandbox.Options{Name: "e2e", HTTPPort: 8080, Jump: true})
	list[*user]{
		// Nothing is on the host.
		{"check finds everything at once", (*user).checkFindsEverything},
		{"apps that do not fit together", (*user).appsDoNotFit},
		{"plan changes nothing", (*user).planChangesNothing},
		{"a first release makes the site", (*user).firstRelease},
		// From here on 1.0.0 is live.
		{"assets of the release before stay within reach", (*user).earlierAssets},
		{"visitors see a page while there is no site", (*user).pageWithoutSite},
		{"every service ends when it is told to", (*user).servicesEnd},
		{"the everyday commands", everydayCommands.run},
		{"push to a registry that asks for a password", (*user).pushWithPassword},
		{"an image is smoke-tested, listed and signed", (*user).attested},
		{"an image that does not work gets no tag", (*user).brokenImage},
		{"an image is rebuilt from its lock", (*user).rebuilt},
		{"packages move when told to", (*user).packagesMove},
		{"only what a change touches is built", (*user).onlyChangesAreBuilt},
		{"build --load", (*user).buildAndLoad},
		{"a version is released once", (*user).releasedOnce},
		{"other sites on the bench, and what others made in them", (*user).otherSites},
		{"a release over it migrates all sites", (*user).releaseMigrates},
		// From here on 2.0.0 is live, until the faults are over.
		{"what fails is put back", (*user).faults},
		{"secrets are nowhere", (*user).secretsAreNowhere},
	}.run(u, t)
}

// everydayCommands work with the release that is live: what an operator on call
// needs.
var everydayCommands = list[*user]{
	{"bench", (*user).benchCommands},
	{"logs", (*user).logs},
	{"logs --follow", (*user).logsFollow},
	{"shell reads what is piped into it", (*user).shellPiped},
	{"shell on a terminal", (*user).shellOnTerminal},
	{"only the second container runs", (*user).secondContainer},
}

func (u *user) firstRelease(t *testing.T) {
	out := u.must(u.command("release", "1.0.0", apps.Version1(), "--yes")...)
	if !regexp.MustCompile(`^desiredeffect/erpnext-custom:1\.0\.0@sha256:[0-9a-f]{64}\n$`).MatchString(out) {
		t.Errorf("printed %q", out)
	}
	if code, body := u.get("/api/method/ping"); code != 200 || !strings.Contains(body, "pong") {
		t.Errorf("ping: %d %s", code, body)
	}
	code, page := u.get("/login")
	asset := regexp.MustCompile(`/assets/[^"']+\.js`).FindString(page)
	if code != 200 || asset == "" {
		t.Fatalf("login page: %d\n%s", code, page)
	}
	if code, _ := u.get(asset); code != 200 {
		t.Errorf("%s: %d", asset, code)
	}
}

func (u *user) earlierAssets(t *testing.T) {
	const asset = "/assets/frappe/dist/js/before.bundle.ABCDEFGH.js"
	if code, _ := u.get(asset); code != http.StatusNotFound {
		t.Errorf("an asset of no release: %d", code)
	}
	u.onHost("docker", "exec", u.container("backend"), "sh", "-c",
		"mkdir -p sites/bridge"+filepath.Dir(asset)+" && echo before >sites/bridge"+asset)
	if code, body := u.get(asset); code != http.StatusOK || body != "before\n" {
		t.Errorf("an asset of the release before: %d %q", code, body)
	}
}

func (u *user) releasedOnce(t *testing.T) {
	code, _, errs := u.run(u.command("release", "1.0.0", apps.Version1(), "--yes")...)
	if code != cli.ExitUsage || !strings.Contains(errs, "1.0.0") || !strings.Contains(errs, "already") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func (u *user) releaseMigrates(t *testing.T) {
	// What was pushed from the same commits is put live as it is, and from others it
	// is another version.
	second := apps.Version1().With("erpnext", "v15.1.1")
	u.must(u.command("push", "1.9.0", second, "--skip-smoke-test")...)
	u.fails(u.command("plan", "1.9.0", second), cli.ExitUsage, "1.9.0: is released already")
	pushed := u.must(u.command("push", "2.0.0", second)...)
	u.fails(u.command("plan", "2.0.0", second.With("erpnext", "v15.1.2")), cli.ExitUsage, "2.0.0: is released already")
	code, out, errs := u.with(`EXTRA_CONFIG={"mail_server": "smtp.example.com", "mail_password": "$pa'ss word"}`).run(u.command("release", "2.0.0", second, "--yes")...)
	if code != 0 || out != pushed || !strings.Contains(errs, "pushed before, from the same commits") {
		t.Fatalf("exit %d, printed %q\n%s", code, out, errs)
	}
	u.hasVersion("erpnext", "15.1.1")
	u.has(u.onHost("docker", "exec", u.container("backend"), "cat", "sites/common_site_config.json"), `"mail_server": "smtp.example.com"`, `"mail_password": "$pa'ss word"`)
	for _, site := range []string{sandbox.Site, secondSite, closedSite} {
		if log := u.queryOn(site, "select patch from `tabPatch Log`"); !strings.Contains(log, "set_customer_group") {
			t.Errorf("%s is not migrated: %s", site, log)
		}
	}
	if config := u.onHost("docker", "exec", u.container("backend"), "cat", "sites/"+closedSite+"/site_config.json"); !strings.Contains(config, `"maintenance_mode": 1`) {
		t.Errorf("a site that was closed is open: %s", config)
	}
	record := u.record("2.0.0")
	if sites := strings.Join(record.Sites, " "); sites != strings.Join([]string{sandbox.Site, closedSite, secondSite}, " ") {
		t.Errorf("the record names the sites %s", sites)
	}
	if record.Previous != "1.0.0" || record.Downtime <= 0 || record.Downtime > 120 {
		t.Errorf("replaced %q with a downtime of %v s", record.Previous, record.Downtime)
	}
	if status := u.must("status"); !strings.Contains(status, "2.0.0") || strings.Contains(status, "✗") {
		t.Errorf("status:\n%s", status)
	}
	history := u.must("history")
	if one, two := strings.Index(history, "\n1.0.0"), strings.Index(history, "\n2.0.0"); one < 0 || two < 0 || one < two {
		t.Errorf("history:\n%s", history)
	}
}

// record is what the host has on record of a version.
func (u *user) record(version string) (record release.Record) {
	u.t.Helper()
	if err := json.Unmarshal([]byte(u.must("show", version, "--json")), &record); err != nil {
		u.t.Fatal(err)
	}
	return record
}
