package starter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

func TestAppsJSON(t *testing.T) {
	file, err := starter.AppsJSON([]starter.App{
		{URL: "https://github.com/frappe/frappe", Ref: "v15.1.0"},
		{URL: "https://${ACME_PAT}@github.com/acme/own", Ref: "fix<&>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[
  {"url": "https://github.com/frappe/frappe", "branch": "v15.1.0"},
  {"url": "https://${ACME_PAT}@github.com/acme/own", "branch": "fix<&>"}
]
`
	if string(file.Text) != want {
		t.Errorf("got\n%swant\n%s", file.Text, want)
	}
	if entries, report := apps.Parse(file.Path, file.Text); len(entries) != 2 || entries[1].TokenName != "ACME_PAT" {
		t.Errorf("it reads as %v %v", entries, report)
	}
}

func TestIgnored(t *testing.T) {
	for _, test := range []struct {
		has, envFile string
		want         []string
	}{
		{"", ".env", []string{".env", ".env.*"}},
		{".env\n", ".env", []string{".env.*"}},
		{"/.env\r\n.env.*", ".env", nil},
		{".env*\n", ".env", nil},
		{"# .env\n!.env\n", ".env", []string{".env", ".env.*"}},
		{".env\n.env.*\n", ".env.staging", nil},
		{".env*\n", "secrets/erp.env", []string{"/secrets/erp.env"}},
		{".env*\nprod.env\n", "prod.env", nil},
		{".env*\n", "prod.env", []string{"/prod.env"}},
		{"/.env*\n", "sub/.env", []string{"/sub/.env"}},
		{".env*\n", `a*b?[c]\d `, []string{`/a\*b\?\[c]\\d\ `}},
		{".env*\n", "", nil},
	} {
		if got := starter.Ignored([]byte(test.has), test.envFile); !slices.Equal(got, test.want) {
			t.Errorf("%q for %s: %q are missing, want %q", test.has, test.envFile, got, test.want)
		}
	}
}

// In another repository there is no docs folder of this one.
func TestHooksReadmeLinksHere(t *testing.T) {
	file, err := starter.HooksReadme()
	if err != nil {
		t.Fatal(err)
	}
	if text := string(file.Text); strings.Contains(text, "](..") || !strings.Contains(text, "](https://github.com/desiredeffect/erpnext-pipeline/blob/main/docs/deploy.md)") {
		t.Errorf("it has other links:\n%s", text)
	}
}
