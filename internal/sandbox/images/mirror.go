package images

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The labels that tell a stand-in in the mirror from any other image.
const (
	labelRecipe = "erpnext-pipeline.stand-in.recipe" // key of the recipe
	labelHolds  = "erpnext-pipeline.stand-in.holds"  // what is inside, with version
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func linux(architecture string) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: architecture}
}

// published reports whether the mirror has the image as this recipe makes it,
// and what that holds. What can't be read counts as absent: it will be made,
// and if the mirror itself is in trouble, pushing to it says so.
func published(ctx context.Context, ref name.Tag, architecture, key string) (holds string, ok bool) {
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(linux(architecture)))
	if err != nil {
		return "", false
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.Labels[labelRecipe] != key {
		return "", false
	}
	return config.Config.Labels[labelHolds], true
}

// finish puts configuration and name on a published image. Dagger can't
// declare volumes, so all of it is set here, in one place.
func finish(ctx context.Context, unfinished, ref name.Tag, architecture string, r recipe, key, holds string) error {
	image, err := remote.Image(unfinished, remote.WithContext(ctx), remote.WithPlatform(linux(architecture)))
	if err != nil {
		return fmt.Errorf("read published image: %w", err)
	}
	if image, err = configure(image, r.Config, key, holds); err != nil {
		return err
	}
	if err := put(ctx, ref, architecture, image); err != nil {
		return fmt.Errorf("publish configuration: %w", err)
	}
	if err := remote.Delete(unfinished, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("remove unfinished image: %w", err)
	}
	return nil
}

// put names an image for one architecture. What the mirror has under the name
// for others stays: together they are an index.
func put(ctx context.Context, ref name.Tag, architecture string, image v1.Image) error {
	images := map[string]v1.Image{}
	// As in published, what can't be read is absent.
	if found, err := remote.Get(ref, remote.WithContext(ctx)); err == nil {
		if images, err = byArchitecture(found); err != nil {
			return err
		}
	}
	delete(images, "") // of no architecture, so not made here
	images[architecture] = image
	if len(images) == 1 {
		return remote.Write(ref, image, remote.WithContext(ctx))
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range slices.Sorted(maps.Keys(images)) {
		platform := linux(architecture)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: images[architecture], Descriptor: v1.Descriptor{Platform: &platform},
		})
	}
	return remote.WriteIndex(ref, index, remote.WithContext(ctx))
}

// byArchitecture returns the images of an index, or the only image.
func byArchitecture(found *remote.Descriptor) (map[string]v1.Image, error) {
	if !found.MediaType.IsIndex() {
		image, err := found.Image()
		if err != nil {
			return nil, fmt.Errorf("read image: %w", err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		return map[string]v1.Image{config.Architecture: image}, nil
	}
	index, err := found.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	images := map[string]v1.Image{}
	for _, entry := range manifest.Manifests {
		if entry.Platform == nil {
			continue
		}
		if images[entry.Platform.Architecture], err = index.Image(entry.Digest); err != nil {
			return nil, fmt.Errorf("read index: %w", err)
		}
	}
	return images, nil
}

func configure(image v1.Image, config v1.Config, key, holds string) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	file = file.DeepCopy()
	file.Config = config
	file.Config.Env = append([]string{searchPath}, config.Env...)
	file.Config.Labels = map[string]string{labelRecipe: key, labelHolds: holds}
	image, err = mutate.ConfigFile(image, file)
	if err != nil {
		return nil, fmt.Errorf("set configuration: %w", err)
	}
	return image, nil
}

// retag publishes the base under another of its names.
func retag(ctx context.Context, base baseImage, mirror, image string) error {
	ref, err := mirrored(mirror, image)
	if err != nil || ref.Name() == base.name {
		return err
	}
	source, err := name.NewDigest(base.ref, name.Insecure)
	if err != nil {
		return fmt.Errorf("read base name %s: %w", base.ref, err)
	}
	content, err := remote.Image(source, remote.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("read base image: %w", err)
	}
	return put(ctx, ref, base.architecture, content)
}
