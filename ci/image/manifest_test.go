package image

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestLabels(t *testing.T) {
	older := time.Date(2024, 3, 12, 17, 25, 32, 0, time.UTC)
	lock := release.Lock{
		SiteVersion: "1.1.5", Python: "3.11.6", Node: "18.18.2",
		Apps: []release.App{
			{Name: "frappe", URL: "https://github.com/frappe/frappe", Ref: "v15.17.3", Commit: strings.Repeat("a", 40), CommittedAt: older, Version: "15.17.3"},
			{Name: "payments", URL: "https://github.com/frappe/payments", Ref: "version-15", Commit: strings.Repeat("b", 40), CommittedAt: older.Add(time.Hour), Version: "0.0.1"},
		},
		Requirements: "click==8.1.7 \\\n    --hash=sha256:aa01\n",
	}
	m, err := newManifest(lock, "erpnext-pipeline v1")
	if err != nil {
		t.Fatal(err)
	}
	labels, err := m.labels()
	if err != nil {
		t.Fatal(err)
	}
	got := labels
	for name, want := range map[string]string{
		"org.opencontainers.image.version":  "1.1.5",
		"org.opencontainers.image.created":  "2024-03-12T18:25:32Z",
		"org.opencontainers.image.revision": strings.Repeat("a", 40),
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if strings.Contains(got[ManifestLabel], "sha256:aa01") {
		t.Errorf("the label carries the packages' hashes: %s", got[ManifestLabel])
	}
	var short release.Manifest
	if err := json.Unmarshal([]byte(got[ManifestLabel]), &short); err != nil {
		t.Fatal(err)
	}
	if want := digest(lock.Requirements); short.PackagesDigest != want {
		t.Errorf("packages digest %q, want %q", short.PackagesDigest, want)
	}
	if len(short.Apps) != 2 || short.Apps[1].Commit != strings.Repeat("b", 40) {
		t.Errorf("apps of the label: %+v", short.Apps)
	}
}
