//go:build unix

package deploy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

func TestFindLive(t *testing.T) {
	m := newMachine(t)
	target := Target{Dir: m.dir, Project: "erp", Sites: []string{"erp.example.com"}, HTTPPort: 8080}
	m.when("ps", "compose -p erp ps", `echo '{"Name":"erp-backend-2","Service":"backend","State":"running","Image":"erp@sha256:1111"}'`)

	live, err := FindLive(context.Background(), m, target)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(live.Project.Command("logs"), " "); got != "docker compose -p erp logs" || live.Digest != "" {
		t.Errorf("without a release: %q, digest %q", got, live.Digest)
	}
	if c, ok := live.Container("backend"); !ok || c.Name != "erp-backend-2" {
		t.Errorf("without a release: the backend is %+v, %v", c, ok)
	}

	release := filepath.Join(m.dir, "releases", "1.0.0")
	if err := os.MkdirAll(release, 0o700); err != nil {
		t.Fatal(err)
	}
	record := `{"version": "1.0.0", "image": {"digest": "sha256:1111"}, "project": "erp", "compose_files": ["main.yaml", "more.yaml"]}` + "\n"
	if err := os.WriteFile(filepath.Join(release, recordFile), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("releases/1.0.0", filepath.Join(m.dir, "current")); err != nil {
		t.Fatal(err)
	}
	if live, err = FindLive(context.Background(), m, target); err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(m.dir, "current")
	want := "docker compose -p erp -f " + current + "/main.yaml -f " + current + "/more.yaml --env-file " + current + "/.env logs"
	if got := strings.Join(live.Project.Command("logs"), " "); got != want || live.Digest != "sha256:1111" {
		t.Errorf("got %q, digest %q, want %q", got, live.Digest, want)
	}

	m.when("ps", "compose -p erp ps", `echo "Cannot connect to the Docker daemon" >&2; exit 1`)
	var ended *host.RunError
	if _, err := FindLive(context.Background(), m, target); !errors.As(err, &ended) || !strings.Contains(ended.Stderr, "Cannot connect") {
		t.Errorf("without Docker: got %v", err)
	}
}
