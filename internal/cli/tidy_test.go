package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"erpnext-pipeline-scratch-123", "erpnext-pipeline-git-4", "erpnext-pipeline-main", "erpnext-pipeline-1.2.0", "erpnext-pipeline-567", "erpnext-pipeline-git-new", "erpnext-pipeline-git-5"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "in"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "erpnext-pipeline-git-5" {
			continue
		}
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	removeLeftovers(dir, time.Now().Add(-time.Minute))
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if want := []string{"erpnext-pipeline-1.2.0", "erpnext-pipeline-567", "erpnext-pipeline-git-5", "erpnext-pipeline-git-new", "erpnext-pipeline-main"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestTidy(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	home, environ := withStages(t)
	cache := filepath.Join(home, "erpnext-pipeline")
	answer := func(name string, days int) {
		file := filepath.Join(cache, "commits", "acme", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Time{}, time.Now().AddDate(0, 0, -days)); err != nil {
			t.Fatal(err)
		}
	}
	answer("old", 91)
	answer("new", 89)
	var log strings.Builder
	c := newCLI(environ, strings.NewReader(""), &strings.Builder{}, &log)
	in, report := c.readInputs(t.Context(), &globalFlags{}, config.RegistryAccess)
	if len(report) > 0 {
		t.Fatal(report.Err())
	}
	tidy := func() string {
		log.Reset()
		r, err := openRegistries(t.Context(), in, config.Build)
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		c.tidy(t.Context(), in, r)
		c.flush()
		return log.String()
	}
	other, err := registry.Serve(t.Context(), filepath.Join(cache, "images"))
	if err != nil {
		t.Fatal(err)
	}
	if said := tidy(); said != "" {
		t.Errorf("beside another process: %s", said)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if said := tidy(); !strings.Contains(said, `"stages":1,"answers":1`) || strings.Count(said, "\n") != 1 {
		t.Errorf("said %s", said)
	}
	for name, want := range map[string]bool{"old": false, "new": true} {
		if _, err := os.Stat(filepath.Join(cache, "commits", "acme", name)); (err == nil) != want {
			t.Errorf("the answer %s: %v", name, err)
		}
	}
	answer("old", 91)
	if said := tidy(); said != "" {
		t.Errorf("on the same day: %s", said)
	}
	if err := os.Chtimes(filepath.Join(cache, "tidied"), time.Time{}, time.Now().AddDate(0, 0, -2)); err != nil {
		t.Fatal(err)
	}
	if said := tidy(); !strings.Contains(said, `"answers":1`) {
		t.Errorf("two days later: %s", said)
	}
}
