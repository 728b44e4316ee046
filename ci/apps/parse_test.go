package apps_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// rendered is a report as it is printed, one line per line.
func rendered(t *testing.T, report problem.Report) []string {
	t.Helper()
	var b strings.Builder
	if err := report.Render(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func equalLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const (
	fixList        = `  fix: write it as [{"url": "https://github.com/frappe/frappe", "branch": "v15.17.3"}]`
	fixURL         = `  fix: write it as https://github.com/OWNER/REPO, for a private one as https://${NAME}@github.com/OWNER/REPO`
	fixBranch      = `  fix: name a tag, a branch or a commit: "branch": "v15.17.3"`
	fixPlaceholder = `  fix: write https://${NAME}@HOST/OWNER/REPO, where NAME is a key of .env: letters, digits and underscores`
	fixCredential  = `  fix: take out what stands before the @; if it is a token, withdraw that, put a new one into .env and a ${NAME} placeholder for it into the url`
)

func TestParseProblems(t *testing.T) {
	token := "ghp_" + strings.Repeat("x", 36)
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", []string{`✗ apps.json:1: is empty`, fixList}},
		{"white space", " \n\n", []string{`✗ apps.json:1: is empty`, fixList}},
		{"no JSON", "apps:\n  - frappe", []string{`✗ apps.json:1: is not JSON, column 1: invalid character 'a' looking for beginning of value`, fixList}},
		{"comma after the last element", "[\n  {\"url\": \"https://github.com/frappe/frappe\", \"branch\": \"v1\"},\n]", []string{
			`✗ apps.json:3: is not JSON, column 1: invalid character ']' looking for beginning of value`, `  fix: remove the comma before it: JSON has none after the last element`}},
		{"comma after the last key", `[{"url": "https://github.com/frappe/frappe", "branch": "v1",}]`, []string{
			`✗ apps.json:1: is not JSON, column 61: invalid character '}' looking for beginning of object key string`, `  fix: remove the comma before it: JSON has none after the last element`}},
		{"comma missing between apps", "[{}\n {}]", []string{`✗ apps.json:2: is not JSON, column 2: invalid character '{' after array element`, `  fix: put a comma between the two`}},
		{"comma missing between keys", `[{"url": "a" "branch": "b"}]`, []string{`✗ apps.json:1: is not JSON, column 14: invalid character '"' after object key:value pair`, `  fix: put a comma between the two`}},
		{"comment", "[\n// mine\n]", []string{`✗ apps.json:2: is not JSON, column 1: invalid character '/' looking for beginning of value`, `  fix: remove the comment: JSON has none`}},
		{"single quotes", `['a']`, []string{`✗ apps.json:1: is not JSON, column 2: invalid character '\'' looking for beginning of value`, `  fix: use double quotes: "url"`}},
		{"open string", "[\"a\n\"]", []string{`✗ apps.json:1: is not JSON, column 4: invalid character '\n' in string literal`, `  fix: close the string on the line where it begins`}},
		{"cut off", "[\n{\"url\": \"a\"", []string{`✗ apps.json:2: is not JSON, column 11: unexpected end of JSON input`, `  fix: the file ends too early: close what is open, the list with ]`}},
		{"trailing data", "[\n]\n[]", []string{`✗ apps.json:3: goes on after the list ends, column 1`, `  fix: remove what follows the list's ]`}},
		{"byte order mark", "\ufeff[]", []string{`✗ apps.json:1: begins with a byte order mark`, `  fix: save the file as UTF-8 without one`, `✗ apps.json:1: lists no app`, fixList}},
		{"UTF-16", "\xff\xfe[\x00]\x00", []string{`✗ apps.json:1: is UTF-16`, `  fix: save the file as UTF-8`}},
		{"not UTF-8", "[\n\"M\xfcller\"]", []string{`✗ apps.json:2: is not UTF-8, column 3`, `  fix: save the file as UTF-8`}},
		{"an object", `{"url": "https://github.com/frappe/frappe", "branch": "v1"}`, []string{`✗ apps.json:1: is not a list of apps`, fixList}},
		{"a text", `"frappe"`, []string{`✗ apps.json:1: is not a list of apps`, fixList}},
		{"null", `null`, []string{`✗ apps.json:1: is not a list of apps`, fixList}},
		{"empty list", "[ ]", []string{`✗ apps.json:1: lists no app`, fixList}},
		{"elements that are no objects", "[\n\"frappe\",\n1,\nnull,\ntrue,\n[{}]]", []string{
			`✗ apps.json:2: has a text where an app should be`, fixList, `✗ apps.json:3: has a number where an app should be`, fixList,
			`✗ apps.json:4: has null where an app should be`, fixList, `✗ apps.json:5: has true or false where an app should be`, fixList,
			`✗ apps.json:6: has a list where an app should be`, fixList}},
		{"empty object", "[\n{}]", []string{`✗ apps.json:2: url is missing`, fixURL, `✗ apps.json:2: branch is missing`, fixBranch}},
		{"empty values", "[{\"url\": \"\",\n\"branch\": \" \"}]", []string{`✗ apps.json:1: url is empty`, fixURL, `✗ apps.json:2: branch is empty`, fixBranch}},
		{"values that are no texts", "[{\"url\": {\"a\": [1, {}]},\n\"branch\": 15}, {\"url\": null, \"branch\": [\"v1\"]}]", []string{
			`✗ apps.json:1: url is an object`, `  fix: write a text in double quotes`, `✗ apps.json:2: branch is a number`, `  fix: write a text in double quotes`,
			`✗ apps.json:2: url is null`, `  fix: write a text in double quotes`, `✗ apps.json:2: branch is a list`, `  fix: write a text in double quotes`}},
		{"unknown keys", "[{\"URL\": \"https://github.com/frappe/frappe\",\n\"brnach\": \"v1\"},\n{\"repo\": 1, \"tag\": [], \"colour\": {}}]", []string{
			`✗ apps.json:1: unknown key "URL"`, `  fix: write "url"`, `✗ apps.json:2: unknown key "brnach"`, `  fix: write "branch"`,
			`✗ apps.json:3: unknown key "repo"`, `  fix: write "url"`, `✗ apps.json:3: unknown key "tag"`, `  fix: write "branch"`,
			`✗ apps.json:3: unknown key "colour"`, `  fix: an app has the keys "url" and "branch"`}},
		{"keys given twice", "[{\"url\": \"https://github.com/frappe/frappe\",\n\"branch\": \"v1\",\n\"branch\": \"v2\"}]", []string{
			`✗ apps.json:3: branch is given twice for one app`, `  fix: keep one of them`}},
		{"app listed twice", `[
{"url": "https://github.com/frappe/frappe", "branch": "v1"},
{"url": "https://github.com/acme/de-macrs", "branch": "v1"},
{"url": "https://github.com/Frappe/Frappe.git", "branch": "v2"},
{"url": "https://github.com/other/de_macrs/", "branch": "v2"}]`, []string{
			`✗ apps.json:4: Frappe is listed twice, first in line 2`, `  fix: keep one of them`, `✗ apps.json:5: de_macrs is listed twice, first in line 3`, `  fix: keep one of them`}},
		{"a problem in each of several apps", `[
{"url": "https://github.com/frappe/frappe", "branch": "v 1"},
{"url": "https://github.com/frappe", "branch": "-v1"},
{"url": "https://github.com/frappe/hrms"}]`, []string{
			`✗ apps.json:2: branch "v 1" contains a space`, fixBranch,
			`✗ apps.json:3: url "https://github.com/frappe" does not end in OWNER/REPO`, fixURL, `✗ apps.json:3: branch "-v1" begins with a dash`, fixBranch,
			`✗ apps.json:4: branch is missing`, fixBranch}},
		{"credentials where no one looks", `[{"` + token + `": 1, "url": "https://github.com/frappe/frappe", "branch": "https://me:hunter2@github.com/x"},
{"url": "https://github.com/frappe/hrms", "branch": "v1", "https://me:hunter2@github.com": 1}]`, []string{
			`✗ apps.json:1: unknown key "***"`, `  fix: an app has the keys "url" and "branch"`,
			`✗ apps.json:1: branch "***@github.com/x" has a slash with nothing before or behind it`, fixBranch,
			`✗ apps.json:2: unknown key "***@github.com"`, `  fix: an app has the keys "url" and "branch"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			entries, report := apps.Parse("apps.json", []byte(test.text))
			equalLines(t, rendered(t, report), test.want)
			for _, p := range report {
				if p.Code == "" {
					t.Errorf("no code: %v", p)
				}
			}
			if strings.Contains(test.name, "each") && len(entries) > 0 {
				t.Errorf("entries %v, want none", entries)
			}
		})
	}
}

func TestParseURL(t *testing.T) {
	token := "ghp_" + strings.Repeat("x", 36)
	invalid := func(detail string) []string { return []string{`✗ apps.json:1: ` + detail, fixURL} }
	literal := []string{`✗ apps.json:1: url holds a credential in clear text`, fixCredential}
	malformed := []string{`✗ apps.json:1: url has a malformed placeholder`, fixPlaceholder}
	withoutKey := func(host, path string) []string {
		return []string{`✗ apps.json:1: url is for SSH and names no key`, `  fix: write ssh://${NAME}@` + host + "/" + path + `, where NAME is a key of .env that holds a deploy key, or https://` + host + "/" + path}
	}
	for _, test := range []struct {
		url, clean, app, token string
		want                   []string
	}{
		{"https://github.com/frappe/erpnext", "https://github.com/frappe/erpnext", "erpnext", "", nil},
		{"https://github.com/frappe/erpnext.git", "https://github.com/frappe/erpnext", "erpnext", "", nil},
		{"HTTPS://GitHub.com/frappe/erpnext/", "https://github.com/frappe/erpnext", "erpnext", "", nil},
		{"https://www.github.com/frappe/erpnext", "https://github.com/frappe/erpnext", "erpnext", "", nil},
		{"https://${DE_MACRS_PAT}@github.com/desiredeffect/de-macrs", "https://github.com/desiredeffect/de-macrs", "de_macrs", "DE_MACRS_PAT", nil},
		{"https://x-access-token:${PAT}@github.com/acme/app", "https://github.com/acme/app", "app", "PAT", nil},
		{"https://someone:${PAT}@github.com/acme/app", "https://github.com/acme/app", "app", "PAT", nil},
		{"https://${PAT}:x-oauth-basic@github.com/acme/app", "https://github.com/acme/app", "app", "PAT", nil},
		{"https://${GHP_TOKEN_OF_ACME}@github.com/acme/app", "https://github.com/acme/app", "app", "GHP_TOKEN_OF_ACME", nil},
		{"https://git.acme.example:8443/acme_corp/app", "https://git.acme.example:8443/acme_corp/app", "app", "", nil},
		{"http://${PAT}@127.0.0.1:3000/acme/app", "http://127.0.0.1:3000/acme/app", "app", "PAT", nil},
		{"http://[::1]:3000/acme/app", "http://[::1]:3000/acme/app", "app", "", nil},

		{"git@github.com:frappe/hrms.git", "", "", "", withoutKey("github.com", "frappe/hrms")},
		{"ssh://git@github.com/frappe/hrms", "", "", "", withoutKey("github.com", "frappe/hrms")},
		{"git@gitlab.com:group/sub/app.git", "", "", "", withoutKey("gitlab.com", "group/sub/app")},
		{"ssh://git@gitlab.com:2222/app", "", "", "", withoutKey("gitlab.com:2222", "app")},
		{"hunter2@gitlab.com:app", "", "", "", withoutKey("gitlab.com", "app")},
		{"ssh://${KEY}@gitlab.com:2222/group/app.git", "ssh://git@gitlab.com:2222/group/app", "app", "KEY", nil},
		{"git+ssh://forge:${KEY}@git.acme.example/srv/app.git", "ssh://forge@git.acme.example/srv/app", "app", "KEY", nil},
		{"ssh://git:hunter2@gitlab.com/group/app", "", "", "", literal},
		{"https://${T}@gitlab.com/group/sub/sub/app.git", "https://gitlab.com/group/sub/sub/app", "app", "T", nil},
		{"https://gitlab+deploy-token-1:${T}@gitlab.com/group/app", "https://gitlab.com/group/app", "app", "T", nil},
		{"https://gitlab.com/group/sub/app/-/tree/main", "", "", "", []string{
			`✗ apps.json:1: url "https://gitlab.com/group/sub/app/-/tree/main" goes on after the repository`, `  fix: end it after group/sub/app; what to build belongs into branch`}},
		{"https://acme@dev.azure.com/acme/My%20Project/_git/app", "https://dev.azure.com/acme/My%20Project/_git/app", "app", "", nil},
		{"https://${T}@dev.azure.com/acme/erp/_git/app", "https://dev.azure.com/acme/erp/_git/app", "app", "T", nil},
		{"https://${T}@git.acme.example/scm/~me/app.git", "https://git.acme.example/scm/~me/app", "app", "T", nil},
		{"https://git.acme.example/app.git", "https://git.acme.example/app", "app", "", nil},
		{"https://git.acme.example/../app", "", "", "", invalid(`url "https://git.acme.example/../app" has no valid path`)},
		{"https://git.acme.example/", "", "", "", invalid(`url "https://git.acme.example/" has no valid path`)},
		{"frappe/hrms", "", "", "", []string{`✗ apps.json:1: url "frappe/hrms" has no https:// in front`, `  fix: write https://github.com/frappe/hrms`}},
		{"github.com/frappe/hrms", "", "", "", invalid(`url "github.com/frappe/hrms" is not an address`)},
		{"hrms", "", "", "", invalid(`url "hrms" is not an address`)},
		{"git://github.com/frappe/hrms", "", "", "", invalid(`url "git://github.com/frappe/hrms" is neither for https nor for ssh`)},
		{"ftp://me:hunter2@github.com/frappe/hrms", "", "", "", invalid(`url "***@github.com/frappe/hrms" is neither for https nor for ssh`)},
		{"file:///srv/hrms", "", "", "", invalid(`url "file:///srv/hrms" is neither for https nor for ssh`)},
		{"http://${PAT}@github.com/acme/app", "", "", "", []string{`✗ apps.json:1: url would send PAT unencrypted`, `  fix: write https:// instead of http://`}},
		{"https://github.com", "", "", "", invalid(`url "https://github.com" does not end in OWNER/REPO`)},
		{"https://github.com/frappe//hrms", "", "", "", invalid(`url "https://github.com/frappe//hrms" does not end in OWNER/REPO`)},
		{"https://github.com/frappe/hrms/tree/version-15", "", "", "", []string{
			`✗ apps.json:1: url "https://github.com/frappe/hrms/tree/version-15" goes on after the repository`, `  fix: end it after frappe/hrms; what to build belongs into branch`}},
		{"https://github.com/frappe/hrms?token=hunter2", "", "", "", invalid(`url "https://github.com/frappe/hrms?***" has a query or a fragment`)},
		{"https://github.com/frappe/hrms#v15", "", "", "", invalid(`url "https://github.com/frappe/hrms#***" has a query or a fragment`)},
		{"https:///frappe/hrms", "", "", "", invalid(`url "https:///frappe/hrms" has no valid host`)},
		{"https://git hub.com/frappe/hrms", "", "", "", invalid(`url "https://git hub.com/frappe/hrms" has no valid host`)},
		{"https://github.com/frap pe/hrms", "", "", "", invalid(`url "https://github.com/frap pe/hrms" has no valid owner`)},
		{"https://github.com/../hrms", "", "", "", invalid(`url "https://github.com/../hrms" has no valid owner`)},
		{"https://github.com/frappe/frappe.io", "https://github.com/frappe/frappe.io", "frappe_io", "", nil},
		{"https://github.com/frappe/.github", "https://github.com/frappe/.github", "_github", "", nil},
		{"https://github.com/acme/2-way.match.git", "https://github.com/acme/2-way.match", "2_way_match", "", nil},
		{"https://github.com/frappe/.git", "", "", "", invalid(`url "https://github.com/frappe/.git" has no valid name of a repository`)},
		{"https://github.com/frappe/..", "", "", "", invalid(`url "https://github.com/frappe/.." has no valid name of a repository`)},
		{"https://github.com/frappe/...git", "", "", "", invalid(`url "https://github.com/frappe/...git" has no valid name of a repository`)},

		{"https://" + token + "@github.com/acme/app", "", "", "", literal},
		{"https://gitlab.com/glpat-abcdefghij0123456789/app", "", "", "", literal},
		{"https://me:hunter2@github.com/acme/app", "", "", "", literal},
		{"https://hunter2@github.com/acme/app", "", "", "", literal},
		{"https://me:hun/ter2@github.com/acme/app", "", "", "", literal},
		{"https://github.com/" + token + "/app", "", "", "", literal},
		{token + "@github.com/acme/app", "", "", "", invalid(`url "***@github.com/acme/app" has no https:// in front`)},
		{"hunter2@github.com/acme/app", "", "", "", invalid(`url "***@github.com/acme/app" has no https:// in front`)},

		{"https://${PAT@github.com/acme/app", "", "", "", malformed},
		{"https://$PAT@github.com/acme/app", "", "", "", malformed},
		{"https://${}@github.com/acme/app", "", "", "", malformed},
		{"https://${1PAT}@github.com/acme/app", "", "", "", malformed},
		{"https://${PAT:-none}@github.com/acme/app", "", "", "", malformed},
		{"https://${PAT}x@github.com/acme/app", "", "", "", malformed},
		{"https://x${PAT}@github.com/acme/app", "", "", "", malformed},
		{"https://${A}:${B}@github.com/acme/app", "", "", "", malformed},
		{"https://${" + token + "}@github.com/acme/app", "", "", "", malformed},
		{"https://" + token + ":${PAT}@github.com/acme/app", "", "", "", malformed},
		{"https://${HOST}/acme/app", "", "", "", []string{`✗ apps.json:1: url has a placeholder that is not in front of the host`, fixURL}},
		{"https://github.com/acme/${APP}", "", "", "", []string{`✗ apps.json:1: url has a placeholder that is not in front of the host`, fixURL}},
	} {
		t.Run(test.url, func(t *testing.T) {
			entries, report := apps.Parse("apps.json", []byte(`[{"url": "`+test.url+`", "branch": "v1"}]`))
			equalLines(t, rendered(t, report), test.want)
			if test.want != nil {
				return
			}
			if len(entries) != 1 {
				t.Fatalf("got %d entries, want 1", len(entries))
			}
			e := entries[0]
			if e.URL() != test.clean || e.App() != test.app || e.TokenName != test.token {
				t.Errorf("got %s, app %s, token %q; want %s, %s, %q", e.URL(), e.App(), e.TokenName, test.clean, test.app, test.token)
			}
		})
	}
}

func TestParseRef(t *testing.T) {
	for ref, want := range map[string]string{
		"v15.17.3": "", "version-15": "", "feature/x": "", "@x": "", "a@b": "", "ümlaut": "", "a.b-c_d+e": "", "0123456789abcdef0123456789abcdef01234567": "",
		"-x": "begins with a dash", "@": "is a lone @", "a@{b": "contains @{", "a..b": "contains two dots in a row", "/a": "has a slash with nothing before or behind it",
		"a/": "has a slash with nothing before or behind it", "a//b": "has a slash with nothing before or behind it", "a.": "ends with a dot",
		"a b": "contains a space", " a": "has a space around it", "a~1": "contains ~", "a^": "contains ^", "a:b": "contains :", "a?": "contains ?", "a*": "contains *",
		"a[b": "contains [", `a\\b`: `contains \`, `a\u0001b`: "contains a control character", `a\u007fb`: "contains a control character",
		".a": "has a part that begins with a dot", "a/.b": "has a part that begins with a dot", "a.lock": "has a part that ends with .lock", "a.lock/b": "has a part that ends with .lock",
		"${REF}": "has a placeholder, which only a url may have",
	} {
		_, report := apps.Parse("apps.json", []byte(`[{"url": "https://github.com/acme/app", "branch": "`+ref+`"}]`))
		got := ""
		if len(report) == 1 && report[0].Code == "apps.ref-invalid" {
			got = report[0].Detail[strings.LastIndex(report[0].Detail, `" `)+2:]
		} else if len(report) > 0 {
			t.Errorf("%q: %v", ref, report)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", ref, got, want)
		}
	}
}

// TestParseRefAgreesWithGit asks git itself about every name.
func TestParseRefAgreesWithGit(t *testing.T) {
	if testing.Short() {
		t.Skip("needs git")
	}
	for _, ref := range gitRefs {
		_, report := apps.Parse("apps.json", []byte(`[{"url": "https://github.com/acme/app", "branch": `+jsonText(t, ref)+`}]`))
		if got, want := len(report) == 0, gitTakes(t, ref); got != want {
			t.Errorf("%q: taken %v, by git %v: %v", ref, got, want, report)
		}
	}
}

// TestRepositorysFile holds the file that this repository releases from.
func TestRepositorysFile(t *testing.T) {
	path := filepath.Join("..", "..", "apps.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, report := apps.Parse("apps.json", data)
	equalLines(t, rendered(t, report), nil)
	var got []string
	for _, e := range entries {
		got = append(got, e.App()+" "+e.Ref+" "+e.URL()+" "+e.TokenName)
	}
	equalLines(t, got, []string{
		"frappe v15.17.3 https://github.com/frappe/frappe ",
		"erpnext v15.17.0 https://github.com/frappe/erpnext ",
		"hrms v15.13.1 https://github.com/frappe/hrms ",
		"payments version-15 https://github.com/frappe/payments ",
		"de_macrs v0.0.4 https://github.com/desiredeffect/de_macrs DE_MACRS_PAT",
		"de_customs v0.0.5 https://github.com/desiredeffect/de_customs DE_MACRS_PAT",
	})
}
