package cli

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// Of variables of a company's own, a sandbox has those that are asked for and the
// tokens of apps.
func TestReadOwn(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		".env":      "DE_SITE_VERSION=1.2.3\nACME_PAT=token\nMOTTO=five\nDB_HOST=db.acme.example\nDEPLOY_HOST=erp.acme.example\n",
		"apps.json": `[{"url": "https://${ACME_PAT}@github.com/acme/own", "branch": "main"}]`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var errs bytes.Buffer
	c := newCLI(nil, strings.NewReader(""), &bytes.Buffer{}, &errs)
	own, err := c.readOwn(sandboxOptions{globalFlags: &globalFlags{envFile: ".env"}, write: ".env.sandbox", carry: []string{"MOTTO", "ABSENT"}})
	if err != nil {
		t.Fatal(err)
	}
	if names, want := slices.Sorted(maps.Keys(own.values)), []string{"ACME_PAT", "DE_SITE_VERSION", "MOTTO"}; !slices.Equal(names, want) {
		t.Errorf("takes over %q, want %q", names, want)
	}
	c.flush()
	if !strings.Contains(errs.String(), "DB_HOST") || strings.Contains(errs.String(), "db.acme.example") {
		t.Errorf("says %s", errs.String())
	}
}
