package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestCompatibility builds sets of real apps up to the smoke test, and prints the
// table of docs/compatibility.md. TEST_COMPATIBILITY is a file with a set in each
// line, OWNER/NAME=REF,… with frappe first, and TEST_REPOSITORIES the folder with the
// bare repositories OWNER/NAME.git. A set that is refused is a row too.
func TestCompatibility(t *testing.T) {
	list, root := os.Getenv("TEST_COMPATIBILITY"), os.Getenv("TEST_REPOSITORIES")
	if testing.Short() || list == "" || root == "" {
		t.Skip("builds real apps, which it does not bring: set TEST_COMPATIBILITY and TEST_REPOSITORIES")
	}
	file, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var sets []apps.Selection
	var bases images.Set
	for lines := bufio.NewScanner(file); lines.Scan(); {
		set, err := apps.ParseSelection(strings.TrimSpace(lines.Text()))
		if err != nil {
			t.Fatal(err)
		}
		text, err := set.FrappeInit(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		python, node := image.Bases(image.WithRuntimes(release.Lock{Apps: []release.App{{Name: "frappe", Version: image.VersionOf(text)}}}))
		sets, bases = append(sets, set), append(bases, python, node)
	}
	enginetest.Shared(t)
	u := &user{t: t, printed: &syncedBuffer{}, world: newWorld(t, sandbox.Options{Name: "compatibility", NoHost: true, Repositories: root, Images: bases, Log: enginetest.Log(t)})}
	if u.environ, err = u.world.Environment(); err != nil {
		t.Fatal(err)
	}
	// Each set has a registry of its own: it is built as if there were no other.
	problem := regexp.MustCompile(`(?m)^✗ (.*)$`)
	table := "| apps | result | seconds |\n|---|---|---|\n"
	for i, set := range sets {
		var names []string
		for _, ref := range set {
			names = append(names, ref.Name+" "+ref.Ref)
		}
		start := time.Now()
		own := u.with("XDG_CACHE_HOME=" + filepath.Join(u.world.Dir, fmt.Sprint(i)))
		if strings.HasPrefix(bases[2*i], "python:3.14") {
			// That stand-in is made of a newer Debian, which has none.
			own = own.with("APT_PACKAGES=-wkhtmltopdf")
		}
		code, _, errs := own.run(own.command("push", fmt.Sprintf("1.0.%d", i), set)...)
		result := "works"
		if code != 0 {
			found := problem.FindStringSubmatch(errs)
			if found == nil {
				t.Errorf("%s: exit %d without a problem\n%s", names, code, errs)
				continue
			}
			t.Logf("%s\n%s", names, errs)
			result = "refused: " + found[1]
		}
		table += fmt.Sprintf("| %s | %s | %.0f |\n", strings.Join(names, ", "), result, time.Since(start).Seconds())
	}
	t.Logf("docs/compatibility.md:\n%s", table)
}
