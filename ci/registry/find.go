package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Find gives the image that a version names, with what the image says of
// itself in its label. A version that is not there is a *problem.Error.
func Find(ctx context.Context, t Target, version string) (release.Image, release.Manifest, error) {
	var manifest release.Manifest
	digest, err := Released(ctx, t, version)
	if err != nil {
		return release.Image{}, manifest, err
	}
	if digest == "" {
		return release.Image{}, manifest, problem.Report{{
			Code: "registry.version-missing", Subject: "version " + version,
			Detail: "there is no " + t.repository() + ":" + version,
			Remedy: "push it first, or name a version that was pushed",
		}}.Err()
	}
	tag, err := t.tag(version)
	if err != nil {
		return release.Image{}, manifest, err
	}
	pushed, err := remote.Image(tag.Context().Digest(digest), t.options(ctx)...)
	if err != nil {
		return release.Image{}, manifest, fmt.Errorf("read %s: %w", tag, err)
	}
	file, err := pushed.ConfigFile()
	if err != nil {
		return release.Image{}, manifest, fmt.Errorf("read configuration of %s: %w", tag, err)
	}
	label := file.Config.Labels[image.ManifestLabel]
	if err := json.Unmarshal([]byte(label), &manifest); err != nil || len(manifest.Apps) == 0 {
		return release.Image{}, manifest, problem.Report{{
			Code: "registry.foreign-image", Subject: tag.String(), Detail: "was not built by this pipeline: it has no label " + image.ManifestLabel,
			Remedy: "release the version with the pipeline", Err: err,
		}}.Err()
	}
	return t.image(version, digest), manifest, nil
}
