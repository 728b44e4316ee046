package apps_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// world is a stand-in with repositories like the real ones.
type world struct {
	server *github.Server
	root   string
	// commits has the SHA of each ref, by "app ref".
	commits map[string]string
	dates   map[string]time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{root: t.TempDir(), commits: map[string]string{}, dates: map[string]time.Time{}}
	w.server = githubtest.Start(t, github.Options{
		Root:    w.root,
		Private: map[string][]string{"desiredeffect/de_macrs": {"macrs-token"}, "desiredeffect/other": {"other-token"}},
		Expires: map[string]time.Time{"macrs-token": time.Now().Add(3 * 24 * time.Hour), "any-token": time.Now().Add(300 * 24 * time.Hour)},
	})
	frappe := githubtest.New(t, w.root, "frappe/frappe")
	for _, tag := range []string{"v15.16.0", "v15.17.3"} {
		w.note(frappe, "frappe "+tag, frappe.Commit("version-15", "version", tag))
		frappe.Tag(w.commits["frappe "+tag], tag)
	}
	hrms := githubtest.New(t, w.root, "frappe/hrms")
	for _, tag := range []string{"v15.12.0", "v15.13.0", "v15.13.1", "v15.33.0"} {
		w.note(hrms, "hrms "+tag, hrms.Commit("version-15", "version", tag))
		tagObject := hrms.AnnotatedTag(w.commits["hrms "+tag], tag)
		if tagObject == w.commits["hrms "+tag] {
			t.Fatal("the tag has no object of its own")
		}
	}
	w.note(hrms, "hrms feature/x", hrms.Commit("feature/x", "version", "x"))
	w.note(hrms, "hrms odd#name%41&a=b+c", hrms.Commit("odd#name%41&a=b+c", "version", "odd"))
	// A name that is a tag and a branch, and one that is a branch and looks
	// like a commit.
	w.note(hrms, "hrms both", hrms.Commit("elsewhere", "version", "both"))
	hrms.Tag(w.commits["hrms both"], "both")
	hrms.Commit("both", "version", "the branch")
	w.note(hrms, "hrms abcdef1", hrms.Commit("abcdef1", "version", "hex"))
	payments := githubtest.New(t, w.root, "frappe/payments")
	w.note(payments, "payments version-15", payments.Commit("version-15", "version", "0.0.1"))
	payments.Commit("develop", "version", "0.0.1")
	macrs := githubtest.New(t, w.root, "desiredeffect/de_macrs")
	w.note(macrs, "de_macrs v0.0.4", macrs.Commit("main", "version", "0.0.4"))
	macrs.Tag(w.commits["de_macrs v0.0.4"], "v0.0.4")
	githubtest.New(t, w.root, "desiredeffect/other").Commit("main", "version", "1")
	githubtest.New(t, w.root, "desiredeffect/empty")
	return w
}

func (w *world) note(r *githubtest.Repository, name, sha string) {
	w.commits[name], w.dates[name] = sha, r.CommittedAt()
}

// sources loads an apps.json whose repositories, "owner/repo ref [TOKEN]", are
// on the stand-in.
func (w *world) sources(t *testing.T, env map[string]string, lines ...string) []apps.Source {
	t.Helper()
	var elements []string
	for _, line := range lines {
		f := append(strings.Fields(line), "")
		url := w.server.URL() + "/" + f[0]
		if f[2] != "" {
			url = strings.Replace(url, "http://", "http://${"+f[2]+"}@", 1)
		}
		elements = append(elements, fmt.Sprintf(`{"url": %s, "branch": %s}`, jsonText(t, url), jsonText(t, f[1])))
	}
	path := filepath.Join(t.TempDir(), "apps.json")
	if err := os.WriteFile(path, []byte("[\n"+strings.Join(elements, ",\n")+"\n]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// frappe itself is listed only where a test is about it.
	opts := apps.Options{Path: path, Lookup: func(name string) (secret.Secret, bool) { return secret.New(env[name]), env[name] != "" }}
	sources, report := apps.Load(opts)
	for _, p := range report {
		if p.Code != "apps.frappe-missing" {
			t.Fatal(p)
		}
	}
	for i := range sources {
		sources[i].Subject = strings.ReplaceAll(sources[i].Subject, path, "apps.json")
		sources[i].RefSubject = strings.ReplaceAll(sources[i].RefSubject, path, "apps.json")
	}
	return sources
}

func (w *world) resolver(t *testing.T, opts apps.GitHubOptions) *apps.GitHub {
	t.Helper()
	resolver, err := apps.NewGitHub(w.server.APIURL(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return resolver
}

// local takes the stand-in's address out of what is rendered.
func (w *world) local(lines []string) []string {
	var out []string
	for _, line := range lines {
		line = strings.ReplaceAll(line, w.server.APIURL(), "API")
		out = append(out, strings.ReplaceAll(line, strings.TrimPrefix(w.server.URL(), "http://"), "HOST"))
	}
	return out
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	env := map[string]string{"DE_MACRS_PAT": "macrs-token"}
	sources := w.sources(t, env, "frappe/hrms v15.13.1", "frappe/payments version-15", "frappe/frappe v15.17.3", "desiredeffect/de_macrs v0.0.4 DE_MACRS_PAT")
	resolved, warnings, problems := apps.Resolve(t.Context(), w.resolver(t, apps.GitHubOptions{}), sources, time.Now())
	equalLines(t, rendered(t, problems), nil)
	want := []release.App{
		{Name: "frappe", URL: w.server.URL() + "/frappe/frappe", Ref: "v15.17.3", Kind: release.Tag},
		{Name: "hrms", URL: w.server.URL() + "/frappe/hrms", Ref: "v15.13.1", Kind: release.Tag},
		{Name: "payments", URL: w.server.URL() + "/frappe/payments", Ref: "version-15", Kind: release.Branch},
		{Name: "de_macrs", URL: w.server.URL() + "/desiredeffect/de_macrs", Ref: "v0.0.4", Kind: release.Tag},
	}
	for i := range want {
		name := want[i].Name + " " + want[i].Ref
		want[i].Commit, want[i].CommittedAt = w.commits[name], w.dates[name].UTC()
	}
	if !slices.Equal(resolved, want) {
		t.Errorf("got  %+v\nwant %+v", resolved, want)
	}
	if len(warnings) != 1 || warnings[0].Code != "apps.token-expiring" || warnings[0].Subject != "DE_MACRS_PAT" || !strings.HasPrefix(warnings[0].Detail, "the token expires on ") {
		t.Errorf("warnings %v, want one that DE_MACRS_PAT expires", warnings)
	}
	// A tag costs one request and a branch two; the token goes only where it
	// is for.
	var asked []string
	for _, r := range w.server.Requests() {
		asked = append(asked, fmt.Sprintf("%s %d %v", strings.TrimPrefix(r.Path, "/api/v3/repos/"), r.Status, r.Authorized))
	}
	slices.Sort(asked)
	equalLines(t, asked, []string{
		"desiredeffect/de_macrs/commits/tags%2Fv0.0.4 200 true", "frappe/frappe/commits/tags%2Fv15.17.3 200 false", "frappe/hrms/commits/tags%2Fv15.13.1 200 false",
		"frappe/payments/commits/heads%2Fversion-15 200 false", "frappe/payments/commits/tags%2Fversion-15 422 false",
	})
}

func TestResolveRefs(t *testing.T) {
	w := newWorld(t)
	resolver := w.resolver(t, apps.GitHubOptions{})
	sha := w.commits["hrms v15.12.0"]
	for _, test := range []struct {
		name, ref string
		kind      release.RefKind
		commit    string
	}{
		{"annotated tag", "v15.13.0", release.Tag, w.commits["hrms v15.13.0"]},
		{"branch", "version-15", release.Branch, w.commits["hrms v15.33.0"]},
		{"branch with a slash", "feature/x", release.Branch, w.commits["hrms feature/x"]},
		{"branch with characters that a URL means something by", "odd#name%41&a=b+c", release.Branch, w.commits["hrms odd#name%41&a=b+c"]},
		{"tag before a branch of the same name", "both", release.Tag, w.commits["hrms both"]},
		{"branch that looks like a commit", "abcdef1", release.Branch, w.commits["hrms abcdef1"]},
		{"full commit", sha, release.Commit, sha},
		{"full commit in capitals", strings.ToUpper(sha), release.Commit, sha},
		{"short commit", sha[:7], release.Commit, sha},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolver.ResolveRef(t.Context(), w.sources(t, nil, "frappe/hrms "+test.ref)[0])
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != test.kind || got.Commit != test.commit || got.CommittedAt.IsZero() || got.CommittedAt.Location() != time.UTC {
				t.Errorf("got %+v, want %s %s", got, test.kind, test.commit)
			}
		})
	}
}

func TestResolveReportsEveryProblemAtOnce(t *testing.T) {
	w := newWorld(t)
	none := strings.Repeat("0", 40)
	for _, test := range []struct {
		name    string
		env     map[string]string
		opts    apps.GitHubOptions
		sources []string
		want    []string
	}{
		{"refs that are not there", nil, apps.GitHubOptions{}, []string{"frappe/frappe v15.17.3", "frappe/hrms v15.99.0", "frappe/payments v15.1.0", "frappe/hrms2 v1"}, []string{
			"✗ apps.json:3: hrms v15.99.0: no such tag, branch or commit in frappe/hrms", "  fix: newest is v15.33.0; nearest are v15.13.0, v15.13.1",
			"✗ apps.json:4: payments v15.1.0: no such tag, branch or commit in frappe/payments", "  fix: the repository has no tags; nearest branches are version-15, develop",
			"✗ apps.json:5: hrms2: frappe/hrms2 is private or does not exist", "  fix: check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/frappe/hrms2"}},
		{"a commit that is not there", nil, apps.GitHubOptions{}, []string{"frappe/payments " + none}, []string{
			"✗ apps.json:2: payments " + none + ": no such tag, branch or commit in frappe/payments", "  fix: branches are develop, version-15"}},
		{"an empty repository", nil, apps.GitHubOptions{}, []string{"desiredeffect/empty main"}, []string{
			"✗ apps.json:2: empty: desiredeffect/empty has no commits", "  fix: push to it, or name another repository"}},
		{"a private repository without a token", nil, apps.GitHubOptions{}, []string{"desiredeffect/de_macrs v0.0.4"}, []string{
			"✗ apps.json:2: de_macrs: desiredeffect/de_macrs is private or does not exist", "  fix: check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/desiredeffect/de_macrs"}},
		{"a token that lacks one repository", map[string]string{"DE_MACRS_PAT": "macrs-token"}, apps.GitHubOptions{}, []string{"desiredeffect/de_macrs v0.0.4 DE_MACRS_PAT", "desiredeffect/other main DE_MACRS_PAT"}, []string{
			"✗ apps.json:3: other: desiredeffect/other does not exist, or the token DE_MACRS_PAT may not read it",
			"  fix: check the name; give DE_MACRS_PAT access to desiredeffect/other: a fine-grained token needs the repository selected and Contents: Read, a classic one the scope repo"}},
		{"a wrong token, once for two apps", map[string]string{"DE_MACRS_PAT": "wrong"}, apps.GitHubOptions{}, []string{"desiredeffect/de_macrs v0.0.4 DE_MACRS_PAT", "desiredeffect/other main DE_MACRS_PAT", "frappe/hrms v1"}, []string{
			"✗ DE_MACRS_PAT: API refuses the token: it is wrong, expired or withdrawn", "  fix: make a new token on GitHub and put it into DE_MACRS_PAT",
			"✗ apps.json:4: hrms v1: no such tag, branch or commit in frappe/hrms", "  fix: newest is v15.33.0; nearest are v15.12.0, v15.13.0"}},
		{"a wrong common token", nil, apps.GitHubOptions{Token: secret.New("wrong"), TokenName: "GH_TOKEN"}, []string{"frappe/hrms v15.13.1", "frappe/frappe v15.17.3"}, []string{
			"✗ GH_TOKEN: API refuses the token: it is wrong, expired or withdrawn", "  fix: make a new token on GitHub and put it into GH_TOKEN"}},
		{"a common token that lacks a private repository", nil, apps.GitHubOptions{Token: secret.New("any-token")}, []string{"desiredeffect/de_macrs v0.0.4"}, []string{
			"✗ apps.json:2: de_macrs: desiredeffect/de_macrs is private or does not exist", "  fix: check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/desiredeffect/de_macrs"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resolved, _, problems := apps.Resolve(t.Context(), w.resolver(t, test.opts), w.sources(t, test.env, test.sources...), time.Now())
			equalLines(t, w.local(rendered(t, problems)), test.want)
			if resolved != nil {
				t.Errorf("apps %v beside problems", resolved)
			}
		})
	}
}

func TestResolveWithTheCommonToken(t *testing.T) {
	w := newWorld(t)
	resolver := w.resolver(t, apps.GitHubOptions{Token: secret.New("any-token")})
	_, warnings, problems := apps.Resolve(t.Context(), resolver, w.sources(t, map[string]string{"PAT": "other-token"}, "frappe/hrms v15.13.1", "desiredeffect/other main PAT"), time.Now())
	equalLines(t, rendered(t, problems), nil)
	equalLines(t, rendered(t, warnings), nil)
	for _, r := range w.server.Requests() {
		if !r.Authorized {
			t.Errorf("%s was asked for without a token", r.Path)
		}
	}
}

func TestResolveManyTags(t *testing.T) {
	root := t.TempDir()
	server := githubtest.Start(t, github.Options{Root: root})
	app := githubtest.New(t, root, "acme/app")
	var tags []string
	for minor := range 25 {
		for patch := range 10 {
			tags = append(tags, fmt.Sprintf("v1.%d.%d", minor, patch))
		}
	}
	app.Tag(app.Commit("main", "version", "1"), tags...)
	w := &world{server: server}
	_, _, problems := apps.Resolve(t.Context(), w.resolver(t, apps.GitHubOptions{}), w.sources(t, nil, "acme/app v1.1.10"), time.Now())
	equalLines(t, rendered(t, problems), []string{
		"✗ apps.json:2: app v1.1.10: no such tag, branch or commit in acme/app", "  fix: newest is v1.24.9; nearest are v1.1.8, v1.1.9"})
}

func TestResolveEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	resolved, _, problems := apps.Resolve(ctx, w.resolver(t, apps.GitHubOptions{}), w.sources(t, nil, "frappe/hrms v15.13.1", "frappe/frappe v15.17.3"), time.Now())
	if len(problems) != 1 || problems[0].Code != "apps.interrupted" || !errors.Is(problems.Err(), context.Canceled) || resolved != nil {
		t.Errorf("got %v, %v; want one problem that the context was cancelled", resolved, problems)
	}
}
