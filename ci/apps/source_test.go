package apps_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// load writes a file, loads it, and returns what came of it with the file's
// folder left out.
func load(t *testing.T, text string, opts apps.Options, env map[string]string) (sources, problems []string) {
	t.Helper()
	opts.Path = filepath.Join(t.TempDir(), "apps.json")
	if err := os.WriteFile(opts.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.Lookup = func(name string) (secret.Secret, bool) {
		value, found := env[name]
		return secret.New(value), found
	}
	loaded, report := apps.Load(opts)
	short := func(s string) string { return strings.ReplaceAll(s, opts.Path, "apps.json") }
	for _, s := range loaded {
		sources = append(sources, short(fmt.Sprintf("%s %s %s at %s, %s; token %q of %q", s.Name, s.URL, s.Ref, s.Subject, s.RefSubject, s.Token.Reveal(), s.TokenName)))
	}
	for _, line := range rendered(t, report) {
		problems = append(problems, short(line))
	}
	return sources, problems
}

const frappeAndHRMS = `[
  {"url": "https://github.com/frappe/frappe", "branch": "v15.17.3"},
  {
    "url": "https://github.com/frappe/hrms",
    "branch": "v15.13.1"
  }
]`

const hrmsAlone = `[{"url": "https://github.com/frappe/hrms", "branch": "v15.13.1"}]`

const twoPrivate = `[
  {"url": "https://github.com/frappe/frappe", "branch": "v15.17.3"},
  {"url": "https://${DE_MACRS_PAT}@github.com/desiredeffect/de_macrs", "branch": "v0.0.4"},
  {"url": "https://x-access-token:${DE_MACRS_PAT}@github.com/desiredeffect/de-customs", "branch": "v0.0.5"}
]`

func TestLoad(t *testing.T) {
	const (
		frappe = `frappe https://github.com/frappe/frappe v15.17.3 at apps.json:2, apps.json:2; token "" of ""`
		hrms   = `hrms https://github.com/frappe/hrms v15.13.1 at apps.json:4, apps.json:5; token "" of ""`
		alone  = `hrms https://github.com/frappe/hrms v15.13.1 at apps.json:1, apps.json:1; token "" of ""`
	)
	for _, test := range []struct {
		name, text        string
		opts              apps.Options
		env               map[string]string
		sources, problems []string
	}{
		{name: "public apps", text: frappeAndHRMS, sources: []string{frappe, hrms}},
		{name: "private apps", text: twoPrivate, env: map[string]string{"DE_MACRS_PAT": "s3cret"}, sources: []string{
			frappe,
			`de_macrs https://github.com/desiredeffect/de_macrs v0.0.4 at apps.json:3, apps.json:3; token "s3cret" of "DE_MACRS_PAT"`,
			`de_customs https://github.com/desiredeffect/de-customs v0.0.5 at apps.json:4, apps.json:4; token "s3cret" of "DE_MACRS_PAT"`}},
		{name: "token not set", text: twoPrivate, sources: []string{frappe}, problems: []string{
			`✗ apps.json:3: DE_MACRS_PAT is not set`,
			`  fix: set DE_MACRS_PAT in .env or in the environment to a GitHub token that can read desiredeffect/de_macrs, desiredeffect/de-customs`}},
		{name: "token set to nothing", text: twoPrivate, env: map[string]string{"DE_MACRS_PAT": ""}, sources: []string{frappe}, problems: []string{
			`✗ apps.json:3: DE_MACRS_PAT is not set`,
			`  fix: set DE_MACRS_PAT in .env or in the environment to a GitHub token that can read desiredeffect/de_macrs, desiredeffect/de-customs`}},
		{name: "token with a line break", text: twoPrivate, env: map[string]string{"DE_MACRS_PAT": "s3cret\n"}, sources: []string{frappe}, problems: []string{
			`✗ DE_MACRS_PAT: has a space, a line break or another character that no token has`, `  fix: copy the token again, without what is around it`}},
		{name: "frappe from its keys", text: hrmsAlone, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/acme/frappe-fork.git", Ref: "version-15"}},
			sources: []string{`frappe https://github.com/acme/frappe-fork version-15 at FRAPPE_PATH, FRAPPE_BRANCH; token "" of ""`, alone}},
		{name: "frappe from its keys, private", text: hrmsAlone, env: map[string]string{"PAT": "s3cret"}, opts: apps.Options{Frappe: apps.Fallback{URL: "https://${PAT}@github.com/acme/frappe", Ref: "version-15"}},
			sources: []string{`frappe https://github.com/acme/frappe version-15 at FRAPPE_PATH, FRAPPE_BRANCH; token "s3cret" of "PAT"`, alone}},
		{name: "frappe nowhere", text: hrmsAlone, sources: []string{alone}, problems: []string{
			`✗ apps.json: frappe itself is not listed`, `  fix: add it to the file, or set FRAPPE_PATH and FRAPPE_BRANCH`}},
		{name: "frappe without a ref", text: hrmsAlone, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/frappe/frappe"}}, sources: []string{alone}, problems: []string{
			`✗ apps.json: frappe itself is not listed`, `  fix: add it to the file, or set FRAPPE_PATH and FRAPPE_BRANCH`}},
		{name: "frappe with its ref from the flag", text: hrmsAlone, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/frappe/frappe"}, Overrides: map[string]string{"frappe": "v15.18.0"}},
			sources: []string{`frappe https://github.com/frappe/frappe v15.18.0 at FRAPPE_PATH, --ref frappe; token "" of ""`, alone}},
		{name: "frappe's keys are bad", text: hrmsAlone, opts: apps.Options{Frappe: apps.Fallback{URL: "https://me:hunter2@github.com/frappe/frappe", Ref: "version-15"}}, sources: []string{alone}, problems: []string{
			`✗ FRAPPE_PATH: url holds a credential in clear text`, fixCredential}},
		{name: "frappe's ref is bad", text: hrmsAlone, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/frappe/frappe", Ref: "a b"}}, sources: []string{alone}, problems: []string{
			`✗ FRAPPE_BRANCH: "a b" contains a space`, `  fix: name a tag, a branch or a commit`}},
		{name: "frappe twice and the same", text: frappeAndHRMS, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/Frappe/frappe.git", Ref: "v15.17.3"}}, sources: []string{frappe, hrms}},
		{name: "frappe twice and different", text: frappeAndHRMS, opts: apps.Options{Frappe: apps.Fallback{URL: "https://github.com/acme/frappe", Ref: "version-15"}}, sources: []string{frappe, hrms}, problems: []string{
			`✗ FRAPPE_PATH: is https://github.com/acme/frappe, but apps.json:2 has https://github.com/frappe/frappe`, `  fix: unset FRAPPE_PATH, or give both the same repository`,
			`✗ FRAPPE_BRANCH: is "version-15", but apps.json:2 has "v15.17.3"`, `  fix: unset FRAPPE_BRANCH, or give both the same ref`}},
		{name: "a ref from the flag", text: frappeAndHRMS, opts: apps.Options{Overrides: map[string]string{"hrms": "v15.13.2"}, Frappe: apps.Fallback{Ref: "v15.17.3"}},
			sources: []string{frappe, `hrms https://github.com/frappe/hrms v15.13.2 at apps.json:4, --ref hrms; token "" of ""`}},
		{name: "frappe's ref from the flag settles a difference", text: frappeAndHRMS, opts: apps.Options{Overrides: map[string]string{"frappe": "v15.18.0"}, Frappe: apps.Fallback{Ref: "version-15"}},
			sources: []string{`frappe https://github.com/frappe/frappe v15.18.0 at apps.json:2, --ref frappe; token "" of ""`, hrms}},
		{name: "flags for unknown apps and bad refs", text: frappeAndHRMS, opts: apps.Options{Overrides: map[string]string{"hrm": "v1", "hrms": "a..b", "wiki": "-x"}}, sources: []string{frappe}, problems: []string{
			`✗ --ref hrm: no such app in apps.json`, `  fix: the apps are frappe, hrms`,
			`✗ --ref hrms: "a..b" contains two dots in a row`, `  fix: write --ref hrms=REF with a tag, a branch or a commit`,
			`✗ --ref wiki: "-x" begins with a dash`, `  fix: write --ref wiki=REF with a tag, a branch or a commit`,
			`✗ --ref wiki: no such app in apps.json`, `  fix: the apps are frappe, hrms`}},
		{name: "an app with a problem is not called unknown", text: `[{"url": "https://github.com/frappe/frappe", "branch": "v1"}, {"url": "https://github.com/frappe/hrms"}]`,
			opts: apps.Options{Overrides: map[string]string{"hrms": "v15.13.2"}}, sources: []string{`frappe https://github.com/frappe/frappe v1 at apps.json:1, apps.json:1; token "" of ""`},
			problems: []string{`✗ apps.json:1: branch is missing`, fixBranch}},
		{name: "with an unreadable url nothing is called missing", text: `[{"url": "frappe", "branch": "v1"}]`, opts: apps.Options{Overrides: map[string]string{"hrms": "v1"}},
			problems: []string{`✗ apps.json:1: url "frappe" is not an address`, fixURL}},
		{name: "problems of every kind at once", text: "[{\"url\": \"https://github.com/frappe/frappe\"},\n{\"url\": \"https://${PAT}@github.com/acme/app\", \"branch\": \"v1\"}]",
			opts: apps.Options{Overrides: map[string]string{"wiki": "v1"}, Frappe: apps.Fallback{URL: "frappe"}}, problems: []string{
				`✗ apps.json:1: branch is missing`, fixBranch, `✗ FRAPPE_PATH: url "frappe" is not an address`, fixURL,
				`✗ --ref wiki: no such app in apps.json`, `  fix: the apps are frappe, app`,
				`✗ apps.json:2: PAT is not set`, `  fix: set PAT in .env or in the environment to a GitHub token that can read acme/app`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			sources, problems := load(t, test.text, test.opts, test.env)
			equalLines(t, problems, test.problems)
			equalLines(t, sources, test.sources)
		})
	}
}

func TestLoadWithoutAFile(t *testing.T) {
	_, report := apps.Load(apps.Options{Path: "no-such-file.json"})
	equalLines(t, rendered(t, report), []string{`✗ no-such-file.json: can't be read: no such file or directory`, fixList})
}

func TestSourcesPrintNoToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.json")
	if err := os.WriteFile(path, []byte(twoPrivate), 0o600); err != nil {
		t.Fatal(err)
	}
	sources, _ := apps.Load(apps.Options{Path: path, Lookup: func(string) (secret.Secret, bool) { return secret.New("s3cret"), true }})
	if len(sources) != 3 {
		t.Fatalf("got %d sources, want 3", len(sources))
	}
	if printed := fmt.Sprintf("%v %+v %#v", sources, sources, sources); strings.Contains(printed, "s3cret") {
		t.Errorf("the token is printed: %s", printed)
	}
}
