// Package smoketest finds out whether an image works before a release relies on
// it: the image is started on the engine, beside a database and Redis that exist
// for that alone, and a site is made from it, as on a first release.
//
// An image that builds is not yet one that runs: Frappe's packages have moved
// underneath it more than once so that no site could be made.
package smoketest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "embed"

	"dagger.io/dagger"
	"github.com/Masterminds/semver/v3"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// App is an app of the image.
type App struct {
	Name string
	// Version is what it calls itself.
	Version string
	// Requires are the apps that have to be installed before it.
	Requires []string
}

// Options say what is tested.
type Options struct {
	Client *dagger.Client
	// Image is the image as it was pushed.
	Image *dagger.Container
	// Digest names the image.
	Digest string
	// MariaDB and Redis are the images of the services, the ones that a
	// release runs with.
	MariaDB, Redis *dagger.Container
	// Inspector is any Debian, to look at the image's files with.
	Inspector *dagger.Container
	// Apps are in install order, frappe first.
	Apps []App
	// Kept is the folder with the site that an earlier test has kept, to begin with.
	// Nil makes a new one.
	Kept *dagger.Directory
	// Secrets must not be in the image.
	Secrets []secret.Secret
	// CAs are certificates in PEM that must not be in the image.
	CAs string
}

// Check is one thing that was found to be so.
type Check struct {
	Name string `json:"name"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// Report is what was found of an image, and when.
type Report struct {
	Digest string    `json:"digest"`
	At     time.Time `json:"at"`
	Checks []Check   `json:"checks"`
	// Site is the digest of the image that made the site, where it was an earlier one
	// and the site was migrated; empty for a new site.
	Site string `json:"site,omitempty"`
	// Left are the apps that were not installed on the site, with the reason.
	Left map[string]string `json:"left,omitempty"`
	// Skipped reports that nothing was tested, because --skip-smoke-test asked for that.
	Skipped bool `json:"skipped,omitempty"`
}

// Word returns what is printed and recorded of a report.
func (r Report) Word() string {
	if r.Skipped {
		return "not smoke-tested"
	}
	return "smoke-tested " + r.At.Format(time.RFC3339)
}

// ArtifactType is the type of the artifact that carries a report beside its
// image. Registries hold reports under this name, so it stays.
const ArtifactType = "application/vnd.erpnext-pipeline.proof.v1+json"

// CodeFailed is the code of the problem of an image that does not work.
const CodeFailed = "smoke-test.failed"

//go:embed files.sh
var filesScript string

//go:embed site.sh
var siteScript string

//go:embed load.sh
var loadScript string

const (
	databasePassword = "smoke-test"
	site             = "smoke-test.localhost"

	// keptAt is where a container has the site that was kept, and keepAt where it
	// leaves one to keep: the dump of its database, its files, and whose it is.
	keptAt, keepAt = "/kept", "/tmp/keep"
	madeBy         = "made-by"
)

// server is the command of the database server, which loses what it has anyway.
var server = []string{
	"mariadbd", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci",
	"--skip-innodb-doublewrite", "--innodb-flush-log-at-trx-commit=0",
}

// plainPath has no /usr/sbin. An engine that has CAs of its own puts them into a
// container before a command and takes them out after it, by update-ca-certificates,
// which takes seconds (engine/buildkit/cacerts of Dagger), or quickly where that is not.
const plainPath = "/usr/local/bin:/usr/bin:/bin"

// unasked is a port that the script waits for, with other things to do meanwhile.
var unasked = dagger.ContainerWithExposedPortOpts{ExperimentalSkipHealthcheck: true}

// SiteOf is everything that says whether a site that was kept is one for an image to
// begin with: what it was made from, the apps on it, and the week. So a site is made
// anew when apps come or go, when Frappe changes, and at least once a week.
func SiteOf(frappe, database string, list []App, now time.Time) []string {
	install, _ := installable(list)
	year, week := now.UTC().ISOWeek()
	return append([]string{frappe, database, siteScript, loadScript, fmt.Sprintf("%d-%d", year, week)}, install...)
}

// load returns the database server with a site that was kept in it. Its result is the
// engine's to remember.
func (o Options) load(ctx context.Context) (database *dagger.Container, madeFor string, err error) {
	database = o.MariaDB.
		WithEnvVariable("MARIADB_ROOT_PASSWORD", databasePassword).
		WithExposedPort(3306, unasked)
	if o.Kept == nil {
		return database, "", nil
	}
	if madeFor, err = o.Kept.File(madeBy).Contents(ctx); err != nil {
		return nil, "", fmt.Errorf("read the site that was kept: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(madeFor), "\n")
	if down := older(o.Apps, lines[1:]); down != "" {
		return nil, "", errors.New(down)
	}
	database, err = database.WithUser("root").
		WithMountedDirectory(keptAt, o.Kept).
		WithExec(append([]string{"bash", "-euc", loadScript, "load"}, server...)).
		WithoutMount(keptAt).Sync(ctx)
	var exec *dagger.ExecError
	if errors.As(err, &exec) {
		return nil, "", fmt.Errorf("load the site that was kept: exit %d\n%s", exec.ExitCode, lastLines(exec))
	}
	if err != nil {
		return nil, "", fmt.Errorf("load the site that was kept: %w", err)
	}
	return database, lines[0], nil
}

// older returns the app that is of a lower version than the one that has made what was
// kept: a migration goes forward alone. made has a line for each app, with its name and
// version.
func older(list []App, made []string) string {
	for _, app := range list {
		now, err := semver.NewVersion(app.Version)
		for _, line := range made {
			name, version, _ := strings.Cut(line, " ")
			then, thenErr := semver.NewVersion(version)
			if name == app.Name && err == nil && thenErr == nil && now.LessThan(then) {
				return app.Name + " is " + app.Version + ", and was " + version
			}
		}
	}
	return ""
}

// madeBy is what a site that is kept says of itself: the image that made it, and a line
// for each app.
func (o Options) madeBy() string {
	made := o.Digest
	for _, app := range o.Apps {
		made += "\n" + app.Name + " " + app.Version
	}
	return made
}

// Run tests an image, and returns the folder with the site to keep, where it made one.
// Where something is not as it should be the error is a *problem.Error that names the
// check and shows what was printed.
func Run(ctx context.Context, o Options) (Report, *dagger.Directory, error) {
	install, left := installable(o.Apps)
	report := Report{Digest: o.Digest, Left: left}
	loaded, madeFor, err := o.load(ctx)
	if err != nil {
		return report, nil, fmt.Errorf("the site that an earlier smoke test has kept can't be used: %w", err)
	}
	report.Site = madeFor
	names := make([]string, len(o.Apps))
	for i, app := range o.Apps {
		names[i] = app.Name
	}

	// Looked at from outside: into a container that runs, an engine may put
	// the machine's own certificates.
	files := o.Inspector.
		WithUser("root").
		WithEnvVariable("PATH", plainPath).
		WithMountedDirectory("/image", o.Image.Rootfs()).
		WithMountedSecret("/run/words", o.Client.SetSecret("smoke test words", words(o)), dagger.ContainerWithMountedSecretOpts{Mode: 0o400}).
		WithExec([]string{"sh", "-eufc", progress.Marker(Stage) + "\n" + filesScript}, dagger.ContainerWithExecOpts{UseEntrypoint: false})

	// What was found is written down; a smoke test is not repeated from the
	// engine's memory, and shares no database with another.
	of := o.Digest + " " + time.Now().UTC().Format(time.RFC3339Nano)
	mariadb := loaded.
		WithEnvVariable("SMOKE_TEST_OF", of).
		AsService(dagger.ContainerAsServiceOpts{UseEntrypoint: true, Args: server})
	// One Redis serves as cache and queue: the engine takes equal ones for one.
	redis := o.Redis.WithEnvVariable("SMOKE_TEST_OF", of).WithExposedPort(6379, unasked).AsService(dagger.ContainerAsServiceOpts{UseEntrypoint: true})
	tested := o.Image
	if o.Kept != nil {
		tested = tested.WithMountedDirectory(keptAt, o.Kept)
	}
	running := tested.
		WithServiceBinding("db", mariadb).
		WithServiceBinding("redis-cache", redis).
		WithServiceBinding("redis-queue", redis).
		WithEnvVariable("IMAGE_PATH", "${PATH}", dagger.ContainerWithEnvVariableOpts{Expand: true}).
		WithEnvVariable("PATH", plainPath).
		WithEnvVariable("APPS", strings.Join(names, " ")).
		WithEnvVariable("INSTALL", strings.Join(install, " ")).
		WithEnvVariable("SITE", site).
		WithEnvVariable("MADE_BY", o.madeBy()).
		WithEnvVariable("DB_ROOT_PASSWORD", databasePassword).
		WithEnvVariable("SMOKE_TEST_OF", of).
		WithExec([]string{"bash", "-euc", progress.Marker(Stage) + "\n" + siteScript}, dagger.ContainerWithExecOpts{UseEntrypoint: true})

	var printed [2]string
	side, sideCtx := errgroup.WithContext(ctx)
	for i, c := range []*dagger.Container{files, running} {
		side.Go(func() (err error) {
			printed[i], err = c.Stdout(sideCtx)
			return failed(err, madeFor)
		})
	}
	if err := side.Wait(); err != nil {
		return report, nil, err
	}
	for _, text := range printed {
		report.Checks = append(report.Checks, marks(text)...)
	}
	report.At = time.Now().UTC()
	if o.Kept != nil {
		return report, nil, nil
	}
	return report, running.Directory(keepAt), nil
}

// installable are the apps that can be installed on a site, and why the others
// can't.
func installable(apps []App) (install []string, left map[string]string) {
	there := []string{"frappe"}
	for _, app := range apps {
		if app.Name == "frappe" {
			continue
		}
		missing := slices.DeleteFunc(slices.Clone(app.Requires), func(name string) bool { return slices.Contains(there, name) })
		if len(missing) > 0 {
			if left == nil {
				left = map[string]string{}
			}
			left[app.Name] = "needs " + strings.Join(missing, ", ") + ", which is not in the image before it"
			continue
		}
		there = append(there, app.Name)
		install = append(install, app.Name)
	}
	return install, left
}

// words are what must not be in the image, a line each: secrets, and of each
// certificate a line that no other has.
func words(o Options) string {
	var lines []string
	for _, s := range o.Secrets {
		// A word is in every image. Of a key in PEM, a line is enough.
		if s.Guessable() {
			continue
		}
		value := s.Reveal()
		for line := range strings.Lines(value) {
			line = strings.TrimSpace(line)
			if len(line) >= 8 && (line == strings.TrimSpace(value) || len(line) >= 40 && !strings.HasPrefix(line, "-----")) {
				lines = append(lines, line)
			}
		}
	}
	for block := range strings.SplitSeq(o.CAs, "-----END CERTIFICATE-----") {
		body := strings.Split(strings.TrimSpace(block), "\n")
		// The first lines of two certificates of one authority are alike.
		if line := strings.TrimSpace(body[max(0, len(body)-2)]); len(body) > 4 && line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// Stage names what both scripts print, and the test as a part of a build.
const Stage = "smoke test"

// CheckIn returns the name of the check that begins where a script prints this line. It
// is empty where the script ends.
func CheckIn(line string) (name string, found bool) {
	if name, _, found = cutMark(line); name == "end" {
		name = ""
	}
	return name, found
}

// mark is what a script prints when a check begins: its name and the time.
const mark = "smoke-test: "

// cutMark cuts a line that is a mark into the check's name and the time.
func cutMark(line string) (name, at string, found bool) {
	text, found := strings.CutPrefix(strings.TrimSpace(line), mark)
	space := strings.LastIndexByte(text, ' ')
	if !found || space < 0 {
		return "", "", false
	}
	return text[:space], text[space+1:], true
}

// marks reads the checks that a script went through.
func marks(printed string) []Check {
	var checks []Check
	var last float64
	for line := range strings.Lines(printed) {
		name, at, found := cutMark(line)
		now, err := strconv.ParseFloat(at, 64)
		if !found || err != nil {
			continue
		}
		if len(checks) > 0 {
			checks[len(checks)-1].Seconds = now - last
		}
		checks, last = append(checks, Check{Name: name}), now
	}
	if len(checks) > 0 {
		checks = checks[:len(checks)-1] // the last mark says that it is over
	}
	return checks
}

// failed turns a script's end into a problem that names the check.
func failed(err error, madeFor string) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	check := "start"
	for _, printed := range []string{exec.Stderr, exec.Stdout} {
		for _, line := range strings.Split(printed, "\n") {
			if name, _, found := cutMark(line); found {
				check = name
			}
		}
	}
	detail, remedy := "does not work", ""
	if madeFor != "" {
		detail = "does not work on the site that " + madeFor + " made"
		remedy = "; push --new-site tries it with a new site, if the app has good reason not to go on from that image"
	}
	return problem.Report{{
		Code: CodeFailed, Subject: "image, " + check, Err: err,
		Detail: fmt.Sprintf("%s: exit %d\n%s", detail, exec.ExitCode, lastLines(exec)),
		Remedy: "nothing was tagged and nothing is released; mend the app that the lines above name, or choose another ref. --skip-smoke-test tags an image without this" + remedy,
	}}.Err()
}

// lastLines is the end of what a script printed.
func lastLines(exec *dagger.ExecError) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(exec.Stdout+"\n"+exec.Stderr), "\n"), func(line string) bool {
		_, _, is := cutMark(line)
		return is
	})
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
