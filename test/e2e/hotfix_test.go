package e2e

import (
	"flag"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

var hotfixes = flag.String("benchmark.hotfix", "", "NAME=REF,…: one line changed, twice or more, one on top of the other; or fixtures")

// TestHotfix releases changes of one line by swap, one over the other, while a visitor
// looks on, and says how long each took. It is run by itself, on a machine that does
// nothing else: the limits are those of docs/benchmarks.md.
func TestHotfix(t *testing.T) {
	if *hotfixes == "" {
		t.Skip("measures: set -benchmark.hotfix, with real apps -benchmark.repositories and -benchmark.apps as well")
	}
	options := sandbox.Options{Name: "hotfix", HTTPPort: 8080}
	selection, changes, limit, every := apps.Version1(), []string{"erpnext=hot-1", "erpnext=hot-2"}, 15*time.Second, visitEvery
	if *repositories != "" {
		var err error
		if selection, err = apps.ParseSelection(*appsToBuild); err != nil {
			t.Fatal(err)
		}
		options.Repositories, changes, limit = *repositories, strings.Split(*hotfixes, ","), 40*time.Second
		// The pages of real apps take the machine's time from the release otherwise.
		every = time.Second
	}
	u := newUser(t, options)
	if *repositories == "" {
		u.oneLine("frappe/erpnext", "v15.1.0", "hot-1", "hot-2")
	}
	u.must(u.command("release", "1.0.0", selection, "--yes")...)
	u.giveWay()
	u.alone(func() {
		for i, c := range changes {
			version := fmt.Sprintf("1.0.%d", i+1)
			v, start := u.visitEach(every), time.Now()
			errs := &noting{text: `"message":"switch"`}
			if code := u.started(t.Context(), strings.NewReader(""), io.Discard, errs, u.command("release", version, change(c).in(selection), "--yes", "--strategy", "swap")...); code != 0 {
				t.Fatalf("%s: exit %d\n%s", c, code, errs.String())
			}
			whole := time.Since(start)
			o := v.leave(time.Time{})
			if errs.at.IsZero() {
				t.Fatalf("%s: visitors were not led over:\n%s", c, errs.String())
			}
			live := errs.at.Sub(start)
			t.Logf("%s: visitors get it after %s, the command ends after %s; of %d requests %d failed\n%s", c, seconds(live), seconds(whole), o.asked, o.failed, errs.String())
			if o.failed > 0 {
				t.Errorf("%s: %d requests failed: %s", c, o.failed, o.kinds())
			}
			if live > limit {
				t.Errorf("%s: live after %s, want at most %s", c, seconds(live), seconds(limit))
			}
		}
	})
}

// oneLine changes one line of an app of the sandbox, and tags each change.
func (u *user) oneLine(repository, from string, tags ...string) {
	u.t.Helper()
	origin, tree := filepath.Join(u.world.Dir, "repositories", repository+".git"), u.t.TempDir()
	_, name, _ := strings.Cut(repository, "/")
	script := "git clone --quiet --branch \"$1\" \"$2\" . && for tag in $4; do echo \"# $tag\" >>\"$3/setup.py\" && git -c user.name=a -c user.email=a@example.com commit --quiet --all --message \"$tag\" && git tag \"$tag\" && git push --quiet origin \"$tag\" || exit; done"
	cmd := exec.CommandContext(u.t.Context(), "sh", "-c", script, "sh", from, origin, name, strings.Join(tags, " "))
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
}
