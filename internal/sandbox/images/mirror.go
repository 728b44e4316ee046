package images

import (
	"context"
	"fmt"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The labels that tell a stand-in in the mirror from any other image.
const (
	labelRecipe = "erpnext-pipeline.stand-in.recipe" // key of the recipe
	labelHolds  = "erpnext-pipeline.stand-in.holds"  // what is inside, with version
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// published says whether the mirror has the image as this recipe makes it,
// and what that holds. What can't be read counts as absent: it will be made,
// and if the mirror itself is in trouble, pushing to it says so.
func published(ctx context.Context, ref name.Tag, key string) (holds string, ok bool) {
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(platform()))
	if err != nil {
		return "", false
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.Labels[labelRecipe] != key {
		return "", false
	}
	return config.Config.Labels[labelHolds], true
}

// finish gives a published image its configuration. Dagger can't declare
// volumes, so all of it is set here, in one place.
func finish(ctx context.Context, ref name.Tag, r recipe, key, holds string) error {
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(platform()))
	if err != nil {
		return fmt.Errorf("read published image: %w", err)
	}
	if image, err = configure(image, r.Config, key, holds); err != nil {
		return err
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("publish configuration: %w", err)
	}
	return nil
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

// retag gives the base another of its names.
func retag(ctx context.Context, base baseImage, mirror, image string) error {
	if image == baseName {
		return nil
	}
	ref, err := mirrored(mirror, image)
	if err != nil {
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
	return remote.Tag(ref, content, remote.WithContext(ctx))
}
