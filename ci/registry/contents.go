package registry

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
)

// content is what a tag names.
type content struct {
	tag    string
	digest v1.Hash
	// blobs are the layers and the configurations, and children the digests of
	// the images of an index.
	blobs    []v1.Descriptor
	children []v1.Hash
}

func (c content) mark(blobs map[v1.Hash]bool) {
	for _, blob := range c.blobs {
		blobs[blob.Digest] = true
	}
}

// readContent returns what a tag names; nil where it is gone.
func readContent(ctx context.Context, t Target, tag string) (*content, error) {
	reference, err := t.tag(tag)
	if err != nil {
		return nil, err
	}
	found, err := remote.Get(reference, t.Options(ctx)...)
	if answer.Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", reference, err)
	}
	c := &content{tag: tag, digest: found.Digest}
	var images []v1.Image
	if found.MediaType.IsIndex() {
		index, err := found.ImageIndex()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", reference, err)
		}
		list, err := index.IndexManifest()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", reference, err)
		}
		for _, child := range list.Manifests {
			c.children = append(c.children, child.Digest)
			image, err := index.Image(child.Digest)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", reference, err)
			}
			images = append(images, image)
		}
	} else {
		image, err := found.Image()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", reference, err)
		}
		images = append(images, image)
	}
	for _, image := range images {
		manifest, err := image.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", reference, err)
		}
		c.blobs = append(append(c.blobs, manifest.Layers...), manifest.Config)
	}
	return c, nil
}

// listTags returns the tags of a repository; none where it is not there yet.
func listTags(ctx context.Context, t Target) ([]string, error) {
	repository, err := name.NewRepository(t.Repository())
	if err != nil {
		return nil, fmt.Errorf("name image: %w", err)
	}
	tags, err := remote.List(repository, t.Options(ctx)...)
	if answer.Missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", repository, err)
	}
	return tags, nil
}

// atOnce is how many tags are read at the same time.
const atOnce = 8

// each reads tags side by side, and leaves out those that are gone.
func each[T any](ctx context.Context, tags []string, read func(context.Context, string) (*T, error)) ([]T, error) {
	var mutex sync.Mutex
	var all []T
	side, ctx := errgroup.WithContext(ctx)
	side.SetLimit(atOnce)
	for _, tag := range tags {
		side.Go(func() error {
			one, err := read(ctx, tag)
			if err != nil || one == nil {
				return err
			}
			mutex.Lock()
			defer mutex.Unlock()
			all = append(all, *one)
			return nil
		})
	}
	err := side.Wait()
	return all, err
}
