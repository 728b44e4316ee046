package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// withModule returns an image for a platform with one Node package.
func withModule(t *testing.T, architecture, module string) v1.Image {
	t.Helper()
	layer, err := crane.Layer(map[string][]byte{"srv/node_modules/" + module + "/package.json": []byte(`{"name": "` + module + `", "version": "1.0.0"}`)})
	if err != nil {
		t.Fatal(err)
	}
	made, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		t.Fatal(err)
	}
	if made, err = mutate.ConfigFile(made, &v1.ConfigFile{OS: "linux", Architecture: architecture, RootFS: configOf(t, made).RootFS}); err != nil {
		t.Fatal(err)
	}
	return made
}

func configOf(t *testing.T, of v1.Image) *v1.ConfigFile {
	t.Helper()
	config, err := of.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// The image of each platform has its own bill of materials beside it, and an index
// has one of all.
func TestContentsAreAttached(t *testing.T) {
	served, err := registry.Serve(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	target := registry.Target{Host: served.Address(), Name: "acme/site"}
	one, other := withModule(t, "amd64", "of-one"), withModule(t, "arm64", "of-other")
	c := newCLI(nil, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
	p := pusher{target: target, session: &session{watcher: c.watch("Build"), builder: &image.Builder{Stores: []image.Store{&registry.Stages{Target: target}}}}, log: c.log}

	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: one}, mutate.IndexAddendum{Add: other})
	for _, pushed := range []*image.Image{
		{Index: index, Digest: digestOf(t, index), Platforms: []v1.Image{one, other}, Native: one},
		{Single: one, Digest: digestOf(t, one), Platforms: []v1.Image{one}, Native: one},
	} {
		reference, err := registry.Push(t.Context(), pushed, target)
		if err != nil {
			t.Fatal(err)
		}
		held, err := p.read(t.Context(), pushed.Platforms)
		if err != nil {
			t.Fatal(err)
		}
		document, err := p.document(built{image: pushed}, reference.DigestStr(), held...)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.attach(t.Context(), reference, []attest.Artifact{document}), p.attachPlatforms(t.Context(), built{image: pushed}, reference, held)); err != nil {
			t.Fatal(err)
		}
		if pushed.Index != nil {
			holds(t, reference, "pkg:npm/of-one@1.0.0", "pkg:npm/of-other@1.0.0")
			holds(t, reference.Context().Digest(digestOf(t, other).String()), "pkg:npm/of-other@1.0.0")
		}
		holds(t, reference.Context().Digest(digestOf(t, one).String()), "pkg:npm/of-one@1.0.0")
	}
	if rows := p.session.watcher.timeline.Rows(); len(rows) == 0 || rows[0].Stage != contentsStage {
		t.Errorf("the timeline has %+v", rows)
	}
}

func digestOf(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	digest, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// holds holds what the bill of materials beside an image lists, and that it is of it.
func holds(t *testing.T, reference name.Digest, want ...string) {
	t.Helper()
	text, err := attest.Attached(t.Context(), reference, attest.SBOMType)
	if err != nil {
		t.Fatal(err)
	}
	var bom cdx.BOM
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatalf("beside %s is %q: %v", reference, text, err)
	}
	var got []string
	for _, component := range *bom.Components {
		got = append(got, component.PackageURL)
	}
	if !slices.Equal(got, want) || !strings.Contains(bom.Metadata.Component.PackageURL, reference.DigestStr()) {
		t.Errorf("beside %s is a document of %s with %q, want %q", reference, bom.Metadata.Component.PackageURL, got, want)
	}
}
