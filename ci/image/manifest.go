package image

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// ManifestPath is where the image holds its manifest.
const ManifestPath = benchDir + "/manifest.json"

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
		SiteVersion: lock.SiteVersion, Python: lock.Python, Node: lock.Node, Apps: lock.Apps,
		Packages: packages, PackagesDigest: digest(lock.Requirements), Builder: builder,
	}, nil
}

type label struct{ name, value string }

// labels are the OCI labels of the image. What is created when follows the
// newest commit, not the clock: the same lock gives the same image.
func (m manifest) labels() ([]label, error) {
	short := m
	short.Packages = nil
	text, err := json.Marshal(short)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	var newest time.Time
	for _, app := range m.Apps {
		if app.CommittedAt.After(newest) {
			newest = app.CommittedAt
		}
	}
	return []label{
		{"org.opencontainers.image.version", m.SiteVersion},
		{"org.opencontainers.image.created", newest.UTC().Format(time.RFC3339)},
		{"org.opencontainers.image.source", m.Apps[0].URL},
		{"org.opencontainers.image.revision", m.Apps[0].Commit},
		{ManifestLabel, string(text)},
	}, nil
}

// bench is the last layer: the apps linked into the virtualenv, the list of
// apps and the manifest.
func (b *Builder) bench(apps []fetched, environment layer, sources []layer, m manifest) layer {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err) // A manifest is plain strings and times.
	}
	names := make([]string, len(apps))
	// What a build back end writes into the source is of no use in the image.
	c := b.cached(environment.made, "uv")
	for i, app := range apps {
		names[i] = app.Name
		c = c.WithMountedDirectory(app.dir(), sources[i].made.Directory(app.dir()))
	}
	install := "uv pip install --quiet --python env/bin/python --offline --no-deps --no-build-isolation"
	for _, name := range names {
		install += " --editable apps/" + name
	}
	c = c.
		WithEnvVariable("UV_NO_CONFIG", "1").
		WithEnvVariable("UV_LINK_MODE", "copy").
		WithMountedFile("/tmp/manifest.json", b.Client.Directory().WithNewFile("manifest.json", string(text)+"\n").File("manifest.json"))
	return layer{name: "bench", before: environment.made, made: script(c, install+`
cp /tmp/manifest.json manifest.json
printf '%s\n' `+strings.Join(names, " ")+` >sites/apps.txt
printf '{}' >sites/common_site_config.json
`)}
}
