package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/baseline"
)

// Flags that, with -bars.repositories and -bars.apps, have [TestDowntime]
// measure other apps than the fixtures.
var (
	barPatch = flag.String("bars.patch", "", "NAME=REF: one app with one more patch")
	barQuiet = flag.String("bars.quiet", "", "NAME=REF: one app with a change that needs no migration")
)

// barStrict holds the bars as they are for a machine that does nothing else.
var barStrict = flag.Bool("bars.strict", false, "hold the bars of a machine that does nothing else")

// shares are the bars: how much of the downtime of the procedure by hand a
// release may have with each strategy. Beside other tests there is some more to
// it, because most of what is done by hand is waiting.
func shares() (cycle, swap float64) {
	if *barStrict {
		return 0.6, 0.4
	}
	return 0.8, 0.6
}

// TestDowntime holds the downtime of a release against that of the procedure
// by hand: on one host, with the same images, seen by the same visitor. With
// the flags above and those of [TestBars] it measures real apps.
func TestDowntime(t *testing.T) {
	options := sandbox.Options{Name: "downtime", HTTPPort: 8081}
	selection := apps.Version1()
	patch, quiet := change("erpnext=v15.1.1"), change("frappe=v15.1.1")
	if *barRepositories != "" {
		var err error
		if selection, err = apps.ParseSelection(*barApps); err != nil {
			t.Fatal(err)
		}
		options.Repositories = *barRepositories
		patch, quiet = change(*barPatch), change(*barQuiet)
	}
	u := newUserOf(t, options)
	patched := patch.in(selection)
	for i, selection := range []apps.Selection{selection, patched, quiet.in(patched)} {
		u.must(append([]string{"push", "--skip-smoke-test"}, u.apps(fmt.Sprintf("1.%d.0", i), selection)...)...)
	}

	// The first case brings both images to the host, which the procedure by
	// hand has there as well.
	cycle := u.onNewProject("cycle")
	cycled := cycle.measured("1.1.0", "cycle", true)
	cycle.gone()

	byHand := u.byHand(selection)

	cycleShare, swapShare := shares()
	var rows [][]string
	row := func(name string, o outage, bar string) {
		share := "-"
		if byHand.down > 0 {
			share = fmt.Sprintf("%.0f %%", 100*o.down.Seconds()/byHand.down.Seconds())
		}
		rows = append(rows, []string{name, seconds(o.down), share, bar, fmt.Sprint(o.asked), fmt.Sprint(o.failed), seconds(o.slowest), o.kinds()})
	}
	row("by hand", byHand, "")
	row("cycle", cycled, "at most 60 %")
	if share := cycled.down.Seconds() / byHand.down.Seconds(); share > cycleShare {
		t.Errorf("cycle: down for %s, %.0f %% of the procedure by hand, want at most %.0f %%", seconds(cycled.down), 100*share, 100*cycleShare)
	}
	if byHand.failed == 0 || cycled.failed == 0 {
		t.Errorf("nobody noticed that the site was taken down: by hand %+v, cycle %+v", byHand, cycled)
	}
	swap := u.onNewProject("swap")
	migrated := swap.measured("1.1.0", "swap", true)
	row("swap with a migration", migrated, "at most 40 %")
	if share := migrated.down.Seconds() / byHand.down.Seconds(); share > swapShare {
		t.Errorf("swap with a migration: down for %s, %.0f %% of the procedure by hand, want at most %.0f %%", seconds(migrated.down), 100*share, 100*swapShare)
	}
	unnoticed := swap.measured("1.2.0", "swap", false)
	row("swap without a migration", unnoticed, "no failed request")
	if unnoticed.failed > 0 {
		t.Errorf("swap without a migration: of %d requests %d failed: %s", unnoticed.asked, unnoticed.failed, unnoticed.kinds())
	}
	swap.gone()

	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "update\tdown\tof by hand\tbar\trequests\tfailed\tslowest good\tfailed, by kind")
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush()
	t.Log("\n" + table.String())
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
	p.must("deploy", "1.0.0", "--yes", "--env-file", "")
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
	errs := &noting{text: `"message":"migrate"`}
	code := cli.Run(p.t.Context(), []string{"deploy", version, "--strategy", strategy, "--yes", "--env-file", ""}, p.environ, strings.NewReader(""), io.Discard, errs)
	if code != 0 {
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
		return v.leave(time.Time{})
	}
	return v.leave(errs.at)
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
	u.onHost("sh", "-c", baseline.Update, "sh", dir, name, sandbox.Site, "1.1.0")
	o := v.leave(time.Now())
	project{u, name}.gone()
	return o
}

// visitor asks the site for something all the time, from outside.
type visitor struct {
	t       *testing.T
	client  *http.Client
	address string
	end     context.CancelFunc
	asking  sync.WaitGroup

	mu      sync.Mutex
	answers []answer
	// assets are those of the last login page.
	assets []string
}

// answer is what one request got.
type answer struct {
	kind        string
	asked, came time.Time
	// fault says what was wrong; empty for a good answer.
	fault string
}

// noAnswer is the fault of a request that the visitor lost patience with.
const noAnswer = "no answer"

const (
	// visitEvery makes twenty requests a second.
	visitEvery = 50 * time.Millisecond
	// patience is how long a request may take: a person has gone by then.
	patience = 5 * time.Second
	// settled is how long all has to be well at the beginning and the end.
	settled = 3 * time.Second
	// kinds is how many kinds of requests there are.
	kinds = 4
)

// visit begins to look on, and returns once all that it asks for is answered
// well.
func (u *user) visit() *visitor {
	u.t.Helper()
	ctx, end := context.WithCancel(u.t.Context())
	u.t.Cleanup(end)
	v := &visitor{t: u.t, end: end, address: u.siteAddress()}
	// Not through the tunnel of the sandbox: once it had connections that
	// nobody took, it leaves others without an answer.
	host := u.connect()
	u.t.Cleanup(func() { _ = host.Close() })
	v.client = &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: host.DialHost,
		// Whoever comes anew finds the door.
		DisableKeepAlives: true,
	}}
	// A site that was made a moment ago is slow to answer for the first time.
	for deadline := time.Now().Add(time.Minute); len(v.assets) == 0; time.Sleep(visitEvery) {
		if v.login(); time.Now().After(deadline) {
			u.t.Fatalf("the login page has no assets: %+v", v.answers)
		}
	}
	v.answers = nil
	v.asking.Go(func() {
		ticker := time.NewTicker(visitEvery)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			// One that waits for its answer does not hold up the next.
			v.asking.Go(func() {
				switch i % 3 {
				case 0:
					v.login()
				case 1:
					v.ask("asset", v.asset(i/3))
				case 2:
					v.ask("ping", "/api/method/ping")
				}
			})
		}
	})
	v.asking.Go(func() { v.stayConnected(ctx) })
	v.wait(u.t.Fatalf)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers = nil
	return v
}

// siteAddress is where the site answers for others in the host's network: not
// on the loopback, where Docker itself takes every connection.
func (u *user) siteAddress() string {
	u.t.Helper()
	addresses := strings.Fields(u.onHost("hostname", "--all-ip-addresses"))
	if len(addresses) == 0 {
		u.t.Fatal("the host has no address")
	}
	return net.JoinHostPort(addresses[0], u.env("HTTP_PORT"))
}

// wait waits until for a while nothing failed and everything was answered, and
// complains if that takes too long.
func (v *visitor) wait(complain func(format string, args ...any)) {
	v.t.Helper()
	for begun := time.Now(); ; time.Sleep(visitEvery) {
		v.mu.Lock()
		o := outage{byKind: map[string]int{}}
		well := map[string]bool{}
		for _, a := range v.answers {
			switch {
			case a.asked.Before(begun) || a.asked.Before(time.Now().Add(-settled)):
			case a.fault == "":
				well[a.kind] = true
			default:
				o.byKind[a.kind+" ("+a.fault+")"]++
			}
		}
		v.mu.Unlock()
		passed := time.Since(begun)
		if passed > settled && len(well) == kinds && len(o.byKind) == 0 {
			return
		}
		if passed > time.Minute {
			complain("the site does not settle: of late, %d kinds of requests were answered well, and these failed: %s", len(well), o.kinds())
			return
		}
	}
}

var assetPath = regexp.MustCompile(`/assets/[^"'?]+\.[0-9A-Z]{8}\.(?:js|css)`)

// login asks for the login page and notes the assets in it.
func (v *visitor) login() {
	page, _ := v.ask("login page", "/login")
	if assets := assetPath.FindAllString(page, -1); len(assets) > 0 {
		v.mu.Lock()
		v.assets = assets
		v.mu.Unlock()
	}
}

// asset gives one of the assets that the last login page named, another one
// each time.
func (v *visitor) asset(i int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.assets[i%len(v.assets)]
}

// stayConnected keeps up a connection for live updates as a browser does that
// has only long polling: where it breaks, it is opened anew. That it breaks is
// no fault, but that it can't be opened is.
func (v *visitor) stayConnected(ctx context.Context) {
	const path = "/socket.io/?EIO=4&transport=polling"
	session := regexp.MustCompile(`"sid":"([^"]+)"`)
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		opened, ok := v.ask("live updates", path)
		id := session.FindStringSubmatch(opened)
		for ok && id != nil && ctx.Err() == nil {
			pause(10 * visitEvery)
			// Held by the server until there is news; the client's patience
			// is shorter, which here means no news.
			_, fault := v.get(path + "&sid=" + id[1])
			if ok = fault == "" || fault == noAnswer; ok {
				now := time.Now()
				v.note(answer{"live updates", now, now, ""})
			}
		}
		pause(visitEvery)
	}
}

// ask asks for a path and notes how it went.
func (v *visitor) ask(kind, path string) (body string, ok bool) {
	asked := time.Now()
	body, fault := v.get(path)
	v.note(answer{kind, asked, time.Now(), fault})
	return body, fault == ""
}

func (v *visitor) note(a answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers = append(v.answers, a)
}

// get gives the body, or what is wrong.
func (v *visitor) get(path string) (body, fault string) {
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "http://"+v.address+path, nil)
	if err != nil {
		return "", err.Error()
	}
	request.Host = sandbox.Site
	response, err := v.client.Do(request)
	if err != nil {
		return "", faultOf(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "", faultOf(err)
	case response.StatusCode != http.StatusOK:
		return "", response.Status
	case len(bytes.TrimSpace(text)) == 0:
		return "", "an empty answer"
	}
	return string(text), ""
}

func faultOf(err error) string {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return noAnswer
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return err.Error()
}

// leave ends the visit and gives the outage. The site has to be well by then.
func (v *visitor) leave(migrated time.Time) outage {
	v.t.Helper()
	v.wait(v.t.Errorf)
	// What is asked already is still waited for, and counts.
	v.end()
	v.asking.Wait()
	o := sumUp(v.answers, migrated)
	faults := map[string]int{}
	for _, a := range v.answers {
		if a.fault != "" {
			faults[a.fault]++
		}
	}
	v.t.Logf("down for %s, faults: %v", seconds(o.down), faults)
	return o
}

// outage is what a visitor saw of an update.
type outage struct {
	// down is from the first failed request until every kind of request is
	// answered well for good and the site is migrated.
	down          time.Duration
	asked, failed int
	// byKind are the failed requests of each kind.
	byKind map[string]int
	// slowest is the longest that a good answer took.
	slowest time.Duration
}

func (o outage) kinds() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(o.byKind)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, o.byKind[kind]))
	}
	return strings.Join(kinds, ", ")
}

func sumUp(answers []answer, migrated time.Time) outage {
	o := outage{asked: len(answers), byKind: map[string]int{}}
	var begin time.Time
	last := map[string]time.Time{}
	for _, a := range answers {
		if a.fault == "" {
			o.slowest = max(o.slowest, a.came.Sub(a.asked))
			continue
		}
		o.failed++
		o.byKind[a.kind]++
		if begin.IsZero() || a.asked.Before(begin) {
			begin = a.asked
		}
		if a.asked.After(last[a.kind]) {
			last[a.kind] = a.asked
		}
	}
	if o.failed == 0 {
		return o
	}
	end := migrated
	for kind, failed := range last {
		var well time.Time
		for _, a := range answers {
			if a.kind == kind && a.fault == "" && a.asked.After(failed) && (well.IsZero() || a.came.Before(well)) {
				well = a.came
			}
		}
		if well.After(end) {
			end = well
		}
	}
	o.down = end.Sub(begin)
	return o
}

func TestSumUp(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name     string
		answers  []answer
		migrated time.Time
		want     outage
	}{
		{"nothing fails", []answer{{"ping", at(0), at(5), ""}, {"login page", at(50), at(90), ""}}, at(500), outage{asked: 2, slowest: 40 * time.Millisecond}},
		{"from the first failed request to the first good answer", []answer{
			{"ping", at(0), at(5), ""}, {"ping", at(100), at(5100), "timeout"}, {"ping", at(200), at(201), "refused"}, {"ping", at(900), at(950), ""}, {"ping", at(1000), at(1010), ""},
		}, at(0), outage{down: 850 * time.Millisecond, asked: 5, failed: 2, slowest: 50 * time.Millisecond, byKind: map[string]int{"ping": 2}}},
		{"until the last kind is well for good", []answer{
			{"ping", at(100), at(101), "refused"}, {"asset", at(150), at(151), "refused"}, {"ping", at(200), at(210), ""}, {"asset", at(250), at(260), ""},
			{"ping", at(300), at(310), ""}, {"asset", at(350), at(351), "404"}, {"asset", at(450), at(470), ""},
		}, at(0), outage{down: 370 * time.Millisecond, asked: 7, failed: 3, slowest: 20 * time.Millisecond, byKind: map[string]int{"ping": 1, "asset": 2}}},
		{"until it is migrated", []answer{{"ping", at(100), at(101), "refused"}, {"ping", at(200), at(210), ""}}, at(900),
			outage{down: 800 * time.Millisecond, asked: 2, failed: 1, slowest: 10 * time.Millisecond, byKind: map[string]int{"ping": 1}}},
	} {
		got := sumUp(c.answers, c.migrated)
		if got.down != c.want.down || got.asked != c.want.asked || got.failed != c.want.failed || got.slowest != c.want.slowest || got.kinds() != c.want.kinds() {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
