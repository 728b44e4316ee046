package image

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// ManifestPath is where the image holds its manifest, and LockPath the Python
// packages with their hashes.
const (
	ManifestPath = benchDir + "/manifest.json"
	LockPath     = benchDir + "/requirements.lock"
)

// ManifestLabel is the image's label with the manifest in JSON, without the
// Python packages: their hashes alone are past what a label should hold.
const ManifestLabel = "erpnext-pipeline.manifest"

type manifest release.Manifest

func newManifest(lock release.Lock, builder string) (manifest, error) {
	packages, err := parseRequirements(lock.Requirements)
	if err != nil {
		return manifest{}, err
	}
	return manifest{
		SiteVersion: lock.SiteVersion, Python: lock.Python, Node: lock.Node, Apps: lock.Apps, Bases: lock.Bases,
		Wkhtmltopdf: lock.Wkhtmltopdf, Chromium: lock.Chromium, DebianChromium: lock.DebianChromium, AptPackages: lock.AptPackages,
		Packages: packages, PackagesDigest: digest(lock.Requirements), Builder: builder,
	}, nil
}

// created is when the newest of the commits was made: what is created when
// follows the commits, not the clock, so that the same lock makes the same
// image.
func (m manifest) created() time.Time {
	var newest time.Time
	for _, app := range m.Apps {
		if app.CommittedAt.After(newest) {
			newest = app.CommittedAt
		}
	}
	return newest.UTC()
}

// annotations are what OCI's image specification has names for: where the
// image comes from.
func (m manifest) annotations() map[string]string {
	return map[string]string{
		"org.opencontainers.image.version":  m.SiteVersion,
		"org.opencontainers.image.created":  m.created().Format(time.RFC3339),
		"org.opencontainers.image.source":   m.Apps[0].URL,
		"org.opencontainers.image.revision": m.Apps[0].Commit,
	}
}

// labels are the annotations again, for tools that read no manifest, and the
// manifest of ours.
func (m manifest) labels() (map[string]string, error) {
	short := m
	short.Packages = nil
	text, err := json.Marshal(short)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	labels := m.annotations()
	labels[ManifestLabel] = string(text)
	return labels, nil
}
