package apps_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
)

// FuzzParse holds what Parse promises for any file: it ends, it leaves nothing
// out in silence, and every problem names a place and a remedy.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "[]", "[{}]", "null", "[1, [], null]", "\ufeff[]", "[{\"url\": 1,}]", "[{},{\"\xb3\":\"\"}]", frappeAndHRMS, twoPrivate, hrmsAlone,
		`[{"url": "https://github.com/a/b", "url": "x", "branch": {"a": [{}]}}] x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, report := apps.Parse("apps.json", data)
		lines := strings.Count(string(data), "\n") + 1
		for _, p := range report {
			if !strings.HasPrefix(p.Subject, "apps.json:") || p.Code == "" || p.Detail == "" || p.Remedy == "" {
				t.Errorf("incomplete problem %+v", p)
			}
		}
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil && len(report) == 0 {
			t.Errorf("no problem in what is no list: %v", err)
		}
		if len(report) == 0 && (len(entries) != len(list) || len(entries) == 0) {
			t.Errorf("%d entries and no problem for %d elements", len(entries), len(list))
		}
		// What is not UTF-8 is one problem of the whole file.
		if utf8.Valid(data) && len(entries)+len(report) < len(list) {
			t.Errorf("%d entries and %d problems for %d elements", len(entries), len(report), len(list))
		}
		seen := map[string]bool{}
		for _, e := range entries {
			app := strings.ToLower(e.App())
			if e.Ref == "" || e.Owner == "" || app == "" || seen[app] || e.Line < 1 || e.Line > lines || e.RefLine < 1 || e.RefLine > lines {
				t.Errorf("bad entry %+v", e)
			}
			seen[app] = true
			if url := e.URL(); strings.ContainsAny(url, "@${}?# ") {
				t.Errorf("the url %q is not clean", url)
			}
		}
	})
}

// FuzzParseKeepsCredentials puts credentials into the places of a url where
// users put them, with anything around: no problem may quote them, and no
// entry may carry them.
func FuzzParseKeepsCredentials(f *testing.F) {
	for _, seed := range [][4]string{
		{"https", "me", "github.com", "acme/app"}, {"http", "", "github.com:1", "a/b?c#d"}, {"git+ssh", "$", "[::1]", "a"}, {"", "${PAT}", "", ""}, {"https", "a/b", "github.com", "a@b/c"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	const password, token = "hunter2correcthorse", "ghp_0123456789abcdefABCDEF0123456789abcd"
	f.Fuzz(func(t *testing.T, scheme, user, host, path string) {
		for _, url := range []string{
			scheme + "://" + user + ":" + password + "@" + host + "/" + path,
			scheme + "://" + password + "@" + host + "/" + path,
			scheme + ":" + user + password + "@" + host + "/" + path,
			scheme + "://" + user + token + host + "/" + path,
			scheme + token + "/" + path,
			"https://" + host + "/" + path + "?access_token=" + password,
		} {
			text, err := json.Marshal([]map[string]string{{"url": url, "branch": "v1", "x" + token: token}, {"url": "https://github.com/a/b", "branch": token + "..", url: url}})
			if err != nil {
				t.Fatal(err)
			}
			entries, report := apps.Parse("apps.json", text)
			for _, p := range report {
				said := p.Subject + p.Detail + p.Remedy
				if strings.Contains(said, token) || strings.Contains(said, password) {
					t.Errorf("for %q the credential is in %q", url, said)
				}
			}
			for _, e := range entries {
				if strings.Contains(e.URL()+e.TokenName, password) || strings.Contains(e.URL()+e.TokenName, token) {
					t.Errorf("for %q the credential is in %+v", url, e)
				}
			}
		}
	})
}
