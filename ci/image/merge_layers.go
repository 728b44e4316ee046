package image

import (
	"fmt"
	"slices"
	"strings"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// mostLayers is how many layers an image can have: Docker's overlay2 driver
// takes 128, and the last are left for images that are built on top of it.
const mostLayers = 120

// mergePlatforms makes the image of every platform out of stored layers, and
// of several an index.
func (b *Builder) mergePlatforms(image *Image, g *graph, m manifest, last v1.Layer) error {
	for i, platform := range b.Platforms {
		one, err := b.mergeLayers(g.layers(i, b.apps), platform, m, last)
		if err != nil {
			return err
		}
		image.Platforms = append(image.Platforms, one)
	}
	single := image.Platforms
	image.Native = single[max(0, slices.Index(b.Platforms, b.native))]
	var err error
	if len(single) == 1 {
		image.Single = single[0]
		image.Digest, err = single[0].Digest()
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, platform := range b.Platforms {
		system, architecture, _ := strings.Cut(string(platform), "/")
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: single[i], Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: system, Architecture: architecture}},
		})
	}
	image.Index = mutate.Annotations(index, m.annotations()).(v1.ImageIndex)
	image.Digest, err = image.Index.Digest()
	return err
}

// mergeLayers makes the image of one platform out of the layers of stages, the
// lowest first, and the last layer.
func (b *Builder) mergeLayers(stages []*stage, platform dagger.Platform, m manifest, last v1.Layer) (v1.Image, error) {
	created := v1.Time{Time: m.created()}
	var addenda []mutate.Addendum
	for _, s := range stages {
		layer, err := fileSystem(s.run.kept)
		if err != nil {
			return nil, err
		}
		if layer != nil {
			addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: s.history}})
		}
	}
	if len(addenda)+1 > mostLayers {
		return nil, problem.Report{{
			Code: "image.layers", Subject: "apps.json", Detail: fmt.Sprintf("%d apps make %d layers, and an image can have %d", len(b.apps), len(addenda)+1, mostLayers),
			Remedy: "leave out apps that no site has installed",
		}}.Err()
	}
	addenda = append(addenda, mutate.Addendum{Layer: last, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "bench"}})

	labels, err := m.labels()
	if err != nil {
		return nil, err
	}
	image, err := newImage(addenda, platform, func(config *v1.ConfigFile) {
		config.Created = created
		config.Config = v1.Config{
			User: user, WorkingDir: benchDir,
			Entrypoint: []string{"/usr/local/bin/entrypoint.sh"}, Cmd: []string{"start.sh"},
			Env:     []string{"PATH=" + searchPath, "LANG=C.UTF-8"},
			Labels:  labels,
			Volumes: map[string]struct{}{benchDir + "/sites": {}, benchDir + "/logs": {}},
		}
	})
	if err != nil {
		return nil, fmt.Errorf("assemble image: %w", err)
	}
	return mutate.Annotations(image, m.annotations()).(v1.Image), nil
}

// newImage returns an OCI image of layers for a platform; configure completes
// its configuration.
func newImage(layers []mutate.Addendum, platform dagger.Platform, configure func(*v1.ConfigFile)) (v1.Image, error) {
	image, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(string(platform), "/")
	configure(config)
	return mutate.ConfigFile(image, config)
}
