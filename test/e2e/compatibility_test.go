package e2e

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestCompatibility builds sets of real apps up to the smoke test, and prints the
// table of docs/compatibility.md. TEST_COMPATIBILITY is a file with a set in each
// line, OWNER/NAME=REF,… with frappe first, then what it needs of the configuration,
// KEY=VALUE …, and TEST_REPOSITORIES the folder with the bare repositories
// OWNER/NAME.git. A set that is refused is a row too.
func TestCompatibility(t *testing.T) {
	list, root := os.Getenv("TEST_COMPATIBILITY"), os.Getenv("TEST_REPOSITORIES")
	if testing.Short() || list == "" || root == "" {
		t.Skip("builds real apps, which it does not bring: set TEST_COMPATIBILITY and TEST_REPOSITORIES")
	}
	sets := readSets(t, list, root)
	enginetest.Shared(t)
	u := &user{t: t, printed: &syncedBuffer{}, world: newWorld(t, sandbox.Options{Name: "compatibility", NoHost: true, Repositories: root, Images: basesOf(sets), Log: enginetest.Log(t)})}
	var err error
	if u.environ, err = u.world.Environment(); err != nil {
		t.Fatal(err)
	}
	// Each set has a registry of its own: it is built as if there were no other.
	problem := regexp.MustCompile(`(?m)^✗ (.*)$`)
	table := "| apps | result | seconds |\n|---|---|---|\n"
	for i, set := range sets {
		var names []string
		for _, ref := range set.Selection {
			names = append(names, ref.Name+" "+ref.Ref)
		}
		start := time.Now()
		own := u.with(append(set.environ, "XDG_CACHE_HOME="+filepath.Join(u.world.Dir, fmt.Sprint(i)))...)
		code, _, errs := own.run(own.command("push", fmt.Sprintf("1.0.%d", i), set.Selection)...)
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

// realSet is a set of real apps.
type realSet struct {
	apps.Selection
	// bases are the public images that it is made of, Python and Node, and environ
	// is what it needs of the configuration.
	bases   images.Set
	environ []string
}

func basesOf(sets []realSet) (bases images.Set) {
	for _, set := range sets {
		bases = append(bases, set.bases...)
	}
	return bases
}

// readSets returns the sets that a file has, a line each.
func readSets(t *testing.T, list, root string) (sets []realSet) {
	t.Helper()
	file, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		selection, environ, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		set := realSet{environ: strings.Fields(environ)}
		if set.Selection, err = apps.ParseSelection(selection); err != nil {
			t.Fatal(err)
		}
		text, err := set.FrappeInit(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		python, node := image.BasesOf(text)
		switch {
		case strings.HasPrefix(python, "python:3.10."):
			// No Debian has had a Python 3.10 that a stand-in could be made of.
			python, node = image.BasesOf("__version__ = \"15.0.0\"")
			set.environ = append(set.environ, "PYTHON_VERSION="+versionOf(python), "NODE_VERSION="+versionOf(node))
		case strings.HasPrefix(python, "python:3.14."):
			// The stand-in is made of a newer Debian, which has none.
			set.environ = append(set.environ, "APT_PACKAGES=-wkhtmltopdf")
		}
		set.bases = images.Set{python, node}
		sets = append(sets, set)
	}
	return sets
}

// versionOf is the version in the name of a public image.
func versionOf(base string) string {
	_, tag, _ := strings.Cut(base, ":")
	version, _, _ := strings.Cut(tag, "-")
	return version
}

// TestUpgrades releases sets of real apps one over the other, with two sites and what
// root made in them: each first with an app whose patch fails half-way, which has to
// leave the databases as they were, and then as it is. TEST_UPGRADES is a file like
// that of TestCompatibility, and TEST_STRATEGY how a release takes over, swap if empty.
func TestUpgrades(t *testing.T) {
	list, root := os.Getenv("TEST_UPGRADES"), os.Getenv("TEST_REPOSITORIES")
	if list == "" || root == "" {
		t.Skip("releases real apps, which it does not bring: set TEST_UPGRADES and TEST_REPOSITORIES")
	}
	sets := readSets(t, list, root)
	repositories := t.TempDir()
	owners, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range owners {
		if err := os.Symlink(filepath.Join(root, owner.Name()), filepath.Join(repositories, owner.Name())); err != nil {
			t.Fatal(err)
		}
	}
	ours := githubtest.New(t, repositories, "acme/ours")
	project := func(version string) githubtest.Entry {
		return githubtest.Entry{Path: "pyproject.toml", Text: `[project]
name = "ours"
version = "` + version + `"
description = "An app of the company's own"

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`}
	}
	ours.CommitEntries("sound", common("ours", project("0.0.1"))...)
	ours.CommitEntries("half", common("ours", project("0.0.2"),
		githubtest.Entry{Path: "ours/patches/__init__.py"},
		githubtest.Entry{Path: "ours/patches/half.py", Text: "import frappe\n\n\ndef execute():\n\tfrappe.db.sql(\"delete from tabToDo\")\n\tfrappe.db.commit()\n\tfrappe.throw(\"half of it is done\")\n"},
		githubtest.Entry{Path: "ours/patches.txt", Text: "ours.patches.half\n"})...)

	u := newUser(t, sandbox.Options{Name: "upgrades", HTTPPort: 8080, Repositories: repositories, Images: basesOf(sets)})
	strategy := cmp.Or(os.Getenv("TEST_STRATEGY"), "swap")
	for i, set := range sets {
		own := u.with(set.environ...)
		sound := append(slices.Clone(set.Selection), apps.Ref{Owner: "acme", Name: "ours", Ref: "sound"})
		if i > 0 {
			before := own.tables()
			half := append(slices.Clone(set.Selection), apps.Ref{Owner: "acme", Name: "ours", Ref: "half"})
			start := time.Now()
			code, _, errs := own.run(own.command("release", fmt.Sprintf("%d.0.0-half", i+1), half, "--yes", "--skip-smoke-test", "--strategy", strategy)...)
			t.Logf("a patch that fails: exit %d after %.0f s", code, time.Since(start).Seconds())
			if code != cli.ExitRolledBack {
				t.Errorf("exit %d\n%s", code, errs)
			}
			own.has(errs, "half of it is done")
			own.same(before, own.tables())
		}
		start := time.Now()
		flags := []string{"--yes"}
		if i > 0 {
			flags = append(flags, "--strategy", strategy)
		}
		own.must(own.command("release", fmt.Sprintf("%d.0.0", i+1), sound, flags...)...)
		t.Logf("%v is live after %.0f s", set.Selection, time.Since(start).Seconds())
		if i == 0 {
			own.fillReal()
		}
		own.realAnswers()
	}
}

// fillReal makes a second site, and rows and things of root's in both.
func (u *user) fillReal() {
	u.t.Helper()
	anywhere := "--mariadb-user-host-login-scope=%"
	if !strings.Contains(u.must("bench", "--", "new-site", "--help"), "--mariadb-user-host-login-scope") {
		anywhere = "--no-mariadb-socket" // as version 14 says it
	}
	if code, out, errs := u.bench(u.env("DB_ROOT_PASSWORD")+"\n", "new-site", secondSite, "--admin-password", "secret-of-two", anywhere, "--install-app", "ours"); code != 0 {
		u.t.Fatalf("new-site: exit %d\n%s%s", code, out, errs)
	}
	for _, site := range []string{sandbox.Site, secondSite} {
		u.onHost("docker", "exec", u.container("db"), "sh", "-euc", asRoot+` "$0" --execute "$1"`, u.database(site),
			"create view report as select name, description from tabToDo; create table audit (at datetime, what text);"+
				"create trigger audited after insert on tabToDo for each row insert into audit values (now(), new.name);"+
				"create procedure tidy() delete from audit; create event nightly on schedule every 1 day starts '2030-01-01' do call tidy();")
		u.queryOn(site, "insert into tabToDo (name, creation, modified, owner, modified_by, status, description) values ('todo-1', now(), now(), 'Administrator', 'Administrator', 'Open', 'of "+site+"')")
	}
}

// realAnswers holds that both sites are open, with their rows and what root made.
func (u *user) realAnswers() {
	u.t.Helper()
	if code, page := u.get("/login"); code != 200 || !strings.Contains(page, "/assets/") {
		u.t.Errorf("login page: %d", code)
	}
	for _, site := range []string{sandbox.Site, secondSite} {
		if rows := u.queryOn(site, "select description, (select count(*) from audit) as audited from report"); !strings.Contains(rows, "of "+site+"\t1") {
			u.t.Errorf("%s has %s", site, rows)
		}
		if made := u.onHost("docker", "exec", u.container("db"), "sh", "-euc", asRoot+` --execute "$0"`,
			"select concat_ws(' ', trigger_name, definer) from information_schema.triggers where trigger_schema = '"+u.database(site)+"'"); !strings.Contains(made, "audited root@") {
			u.t.Errorf("%s has the triggers %s", site, made)
		}
	}
}

// tables are the tables of both sites with what belongs to them, as a dump has them.
func (u *user) tables() map[string]string {
	u.t.Helper()
	found := map[string]string{}
	for _, site := range []string{sandbox.Site, secondSite} {
		dump := u.withDatabase(site, `mariadb-dump --host=db --user="$name" --skip-dump-date --skip-extended-insert "$name"`)
		for _, part := range strings.Split(dump, "\n-- Table structure for table ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			found[site+" "+name] = text
		}
	}
	return found
}

// busy are tables that a live site writes to by itself.
var busy = regexp.MustCompile("`tab(Scheduled Job (Log|Type)|Sessions|Activity Log|Error Log|Route History|RQ Job)`")

// same holds that two states of the databases are the same, but for what a live site
// writes by itself.
func (u *user) same(before, after map[string]string) {
	u.t.Helper()
	compared := 0
	for name, text := range before {
		if busy.MatchString(name) {
			continue
		}
		compared++
		if after[name] != text {
			u.t.Errorf("%s has changed: %d bytes, and %d before", name, len(after[name]), len(text))
		}
	}
	if len(after) != len(before) {
		u.t.Errorf("there are %d tables, and were %d", len(after), len(before))
	}
	u.t.Logf("%d tables are as they were", compared)
}
