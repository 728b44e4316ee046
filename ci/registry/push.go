// Package registry brings an image to where the host can pull it: into any
// registry of the distribution API, or into one of its own ([Embedded]).
//
// A version names one digest forever. An image is therefore pushed under its
// digest, and the version's tag is set when the image is smoke-tested, if it is
// free or names that very digest already.
//
// The stages of builds lie beside the images, under tags that begin with
// "stage.": see [Stages].
package registry

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Released returns the digest that a version names in the registry, or nothing
// if the version is free.
func Released(ctx context.Context, t Target, version string) (string, error) {
	descriptor, err := t.head(ctx, version)
	if err != nil || descriptor == nil {
		return "", err
	}
	return descriptor.Digest.String(), nil
}

// head returns what a tag names; nil where it is free.
func (t Target) head(ctx context.Context, of string) (*v1.Descriptor, error) {
	tag, err := t.tag(of)
	if err != nil {
		return nil, err
	}
	descriptor, err := remote.Head(tag, t.Options(ctx)...)
	if answer.Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", tag, err)
	}
	return descriptor, nil
}

// Push pushes an image under its digest alone: it has no tag yet. Of its
// layers only those are sent that the registry does not have.
func Push(ctx context.Context, built *image.Image, t Target) (name.Digest, error) {
	repository, err := name.NewRepository(t.Repository())
	if err != nil {
		return name.Digest{}, fmt.Errorf("name image: %w", err)
	}
	reference := repository.Digest(built.Digest.String())
	if built.Index != nil {
		err = remote.WriteIndex(reference, built.Index, t.Options(ctx)...)
	} else {
		err = remote.Write(reference, built.Single, t.Options(ctx)...)
	}
	if err != nil {
		return name.Digest{}, fmt.Errorf("push %s: %w", reference, err)
	}
	return reference, nil
}

// Tag sets the version's tag on a pushed image. Where the version names another
// digest already nothing changes, and the error is a *problem.Error.
func Tag(ctx context.Context, t Target, version, digest string) (release.Image, error) {
	tag, err := t.tag(version)
	if err != nil {
		return release.Image{}, err
	}
	existing, err := Released(ctx, t, version)
	switch {
	case err != nil:
		return release.Image{}, err
	case existing == digest:
		return t.Image(version, digest), nil
	case existing != "":
		return release.Image{}, problem.Report{Taken(t, version, existing)}.Err()
	}
	reference := tag.Context().Digest(digest)
	descriptor, err := remote.Get(reference, t.Options(ctx)...)
	if err != nil {
		return release.Image{}, fmt.Errorf("read back %s: %w", reference, err)
	}
	if err := remote.Tag(tag, descriptor, t.Options(ctx)...); err != nil {
		// Another may have set it meanwhile. A registry that sets a tag once refuses even
		// to set it to what it names.
		switch existing, looked := Released(ctx, t, version); {
		case looked == nil && existing == digest:
			return t.Image(version, digest), nil
		case looked == nil && existing != "":
			return release.Image{}, problem.Report{Taken(t, version, existing)}.Err()
		}
		return release.Image{}, fmt.Errorf("tag %s: %w", tag, err)
	}
	return t.Image(version, digest), nil
}
