package e2e

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/baseline"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

// Flags that, with -benchmark.repositories and -benchmark.apps, have
// [TestDowntime] measure other apps than the fixtures.
var (
	patchChange = flag.String("benchmark.patch", "", "NAME=REF: one app with one more patch")
	quietChange = flag.String("benchmark.quiet", "", "NAME=REF: one app with a change that needs no migration")
)

var measureDowntime = flag.Bool("benchmark.downtime", false, "measure the downtime of a release, on a machine that does nothing else")

// TestDowntime compares the downtime of a release with that of the procedure
// by hand: on one host, with the same images, seen by the same visitor. With
// the flags above and those of [TestBenchmark] it measures real apps.
func TestDowntime(t *testing.T) {
	if !*measureDowntime {
		t.Skip("measures: set -benchmark.downtime")
	}
	options := sandbox.Options{Name: "downtime", HTTPPort: 8081}
	selection := apps.Version1()
	patch, quiet := change("erpnext=v15.1.1"), change("frappe=v15.1.1")
	if *repositories != "" {
		var err error
		if selection, err = apps.ParseSelection(*appsToBuild); err != nil {
			t.Fatal(err)
		}
		options.Repositories = *repositories
		patch, quiet = change(*patchChange), change(*quietChange)
	}
	u := newUser(t, options)
	patched := patch.in(selection)
	for i, selection := range []apps.Selection{selection, patched, quiet.in(patched)} {
		u.must(u.command("push", fmt.Sprintf("1.%d.0", i), selection, "--skip-smoke-test")...)
	}
	u.giveWay()
	cycle := u.onNewProject("cycle")
	var m downtimes
	u.alone(func() { m.measure(cycle, selection) })
	m.compare(t)
}

// downtimes are what was seen of each way to update a site.
type downtimes struct{ byHand, cycle, migrated, unnoticed outage }

func (m *downtimes) measure(cycle project, selection apps.Selection) {
	// The first case brings both images to the host, which the procedure by
	// hand has there as well.
	m.cycle = cycle.measured("1.1.0", "cycle", true)
	cycle.gone()
	m.byHand = cycle.byHand(selection)
	swap := cycle.onNewProject("swap")
	m.migrated = swap.measured("1.1.0", "swap", true)
	m.unnoticed = swap.measured("1.2.0", "swap", false)
}

func (m *downtimes) compare(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "update\tdown\tof by hand\tlimit\trequests\tfailed\tslowest good\tfailed, by kind")
	row := func(name string, o outage, limit string) {
		share := "-"
		if m.byHand.down > 0 {
			share = fmt.Sprintf("%.0f %%", 100*o.down.Seconds()/m.byHand.down.Seconds())
		}
		fmt.Fprintln(w, strings.Join([]string{name, seconds(o.down), share, limit, fmt.Sprint(o.asked), fmt.Sprint(o.failed), seconds(o.slowest), o.kinds()}, "\t"))
	}
	row("by hand", m.byHand, "")
	row("cycle", m.cycle, "at most 60 %")
	row("swap with a migration", m.migrated, "at most 40 %")
	row("swap without a migration", m.unnoticed, "no failed request")
	_ = w.Flush()
	t.Log("\n" + table.String())

	atMost := func(name string, o outage, limit float64) {
		if share := o.down.Seconds() / m.byHand.down.Seconds(); share > limit {
			t.Errorf("%s: down for %s, %.0f %% of the procedure by hand, want at most %.0f %%", name, seconds(o.down), 100*share, 100*limit)
		}
	}
	atMost("cycle", m.cycle, 0.6)
	atMost("swap with a migration", m.migrated, 0.4)
	if m.byHand.failed == 0 || m.cycle.failed == 0 {
		t.Errorf("no request noticed that the site was taken down: by hand %+v, cycle %+v", m.byHand, m.cycle)
	}
	if m.unnoticed.failed > 0 {
		t.Errorf("swap without a migration: of %d requests %d failed: %s", m.unnoticed.asked, m.unnoticed.failed, m.unnoticed.kinds())
	}
}

// project is a user whose site is a compose project of its own.
type project struct {
	*user
	name string
}

// onNewProject puts the first version live in a new project.
func (u *user) onNewProject(name string) project {
	u.t.Helper()
	p := project{u.with("COMPOSE_PROJECT_NAME="+name, "DEPLOY_DIR=/home/deploy/"+name), name}
	p.must(deploy("1.0.0")...)
	return p
}

// gone takes the project off the host, with its data: the next one needs its
// port.
func (p project) gone() {
	p.t.Helper()
	p.onHost("sh", "-c", `docker ps --all --quiet --filter "label=com.docker.compose.project=$1" | xargs --no-run-if-empty docker rm --force
docker volume ls --quiet --filter "label=com.docker.compose.project=$1" | xargs --no-run-if-empty docker volume rm
docker network ls --quiet --filter "label=com.docker.compose.project=$1" | xargs --no-run-if-empty docker network rm`, "sh", p.name)
}

// measured updates to a version with a strategy while a visitor looks on.
// migrates says that the site is not updated before it is migrated.
func (p project) measured(version, strategy string, migrates bool) outage {
	p.t.Helper()
	v := p.visit()
	wrote := p.writes(version)
	errs := &noting{text: `"message":"migrate"`}
	if code := p.started(p.t.Context(), strings.NewReader(""), io.Discard, errs, deploy(version, "--strategy", strategy)...); code != 0 {
		p.t.Fatalf("deploy %s: exit %d\n%s", version, code, errs.String())
	}
	if migrates && errs.at.IsZero() {
		p.t.Fatalf("deploy %s did not say that it migrated:\n%s", version, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, `"took"`) {
			p.t.Log(strings.TrimSpace(line))
		}
	}
	if !migrates {
		errs.at = time.Time{}
	}
	o := v.leave(errs.at)
	wrote()
	return o
}

// writes has a user write rows until the function that it returns is called.
// That one holds that each acknowledged row is live: the release went well, and
// put nothing back.
func (p project) writes(version string) (wrote func()) {
	p.t.Helper()
	if *repositories != "" {
		// Others' sites let only users in who have logged in.
		return func() {}
	}
	site := p.site()
	w := writer.Start(p.t.Context(), site, p.name+"-"+version)
	return func() {
		p.t.Helper()
		w.Stop()
		rows, refused := w.Rows()
		live, err := site.Live(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := writer.Find(rows, live); err != nil {
			p.t.Errorf("deploy %s with %s: %v", version, p.name, err)
		}
		if len(rows) == 0 {
			p.t.Error("no row was acknowledged: the writer proves nothing")
		}
		p.t.Logf("%d rows were acknowledged, and are live; %d were not", len(rows), refused)
	}
}

// byHand updates a site by the procedure by hand while a visitor looks on.
func (u *user) byHand(selection apps.Selection) outage {
	u.t.Helper()
	const dir, name = "/home/deploy/by-hand", "by-hand"
	install := ""
	for _, app := range selection[1:] {
		install += " --install-app=" + app.Name
	}
	env := map[string]string{"IMAGE": "desiredeffect/erpnext-custom", "DE_SITE_VERSION": "1.0.0", "INSTALL": strings.TrimSpace(install)}
	for _, pair := range u.environ {
		name, value, _ := strings.Cut(pair, "=")
		if slices.Contains([]string{"SITE_NAME", "HTTP_PORT", "DB_ROOT_PASSWORD", "ADMIN_PASSWORD"}, name) {
			env[name] = value
		}
	}
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&lines, "%s=%s\n", name, env[name])
	}
	u.onHostWith(string(baseline.Compose), "sh", "-c", "mkdir -p "+dir+" && cat >"+dir+"/compose.yaml")
	u.onHostWith(lines.String(), "sh", "-c", "umask 077 && cat >"+dir+"/.env")
	u.onHost("sh", "-c", baseline.MakeSite, "sh", dir, name, sandbox.Site)
	v := u.visit()
	// A load that the releases have as well. What becomes of the rows is not
	// for this test to say.
	if *repositories == "" {
		defer writer.Start(u.t.Context(), u.site(), name).Stop()
	}
	u.onHost("sh", "-c", baseline.Update, "sh", dir, name, sandbox.Site, "1.1.0")
	o := v.leave(time.Now())
	project{u, name}.gone()
	return o
}
