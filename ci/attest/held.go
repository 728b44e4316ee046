package attest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Held is what is in the layers of an image for one platform.
type Held struct {
	// Platform is the image's, for instance "linux/amd64".
	Platform string

	files map[string]evidence
}

// Cache keeps what was read of layers by the name of a layer, which names its
// content as well: what is under a name stays right for ever.
type Cache interface {
	// Find returns what was kept under a name; nil where nothing was.
	Find(ctx context.Context, name string) ([]byte, error)
	// Keep keeps a few hundred kilobytes under a name. Where that fails the
	// layer is read again another time.
	Keep(ctx context.Context, name string, record []byte)
}

const (
	// smallLayer is how many bytes a layer may have that is read each time: that
	// is as quick as to look for what was read before.
	smallLayer = 1 << 20
	// layersAtOnce is how many layers are looked for or read side by side.
	layersAtOnce = 8
)

// Read reads what is in images, each for one platform. A layer that several of
// them have is read once, and one that the cache knows not at all.
func Read(ctx context.Context, images []v1.Image, cache Cache) ([]Held, error) {
	all := map[v1.Hash]v1.Layer{}
	held, digests := make([]Held, len(images)), make([][]v1.Hash, len(images))
	for i, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("read configuration of image: %w", err)
		}
		platform := config.Platform()
		if platform == nil {
			return nil, errors.New("read configuration of image: it is for no platform")
		}
		held[i].Platform = platform.String()
		layers, err := image.Layers()
		if err != nil {
			return nil, fmt.Errorf("read layers of image: %w", err)
		}
		for _, l := range layers {
			digest, err := l.Digest()
			if err != nil {
				return nil, fmt.Errorf("read layers of image: %w", err)
			}
			all[digest] = l
			digests[i] = append(digests[i], digest)
		}
	}
	order := slices.SortedFunc(maps.Keys(all), func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) })
	read := make([]layer, len(order))
	side, ctx := errgroup.WithContext(ctx)
	side.SetLimit(layersAtOnce)
	for i, digest := range order {
		side.Go(func() (err error) {
			if read[i], err = findOrRead(ctx, digest, all[digest], cache); err != nil {
				return fmt.Errorf("read layer %s: %w", digest, err)
			}
			return nil
		})
	}
	if err := side.Wait(); err != nil {
		return nil, err
	}
	for i := range images {
		layers := make([]layer, len(digests[i]))
		for j, digest := range digests[i] {
			layers[j] = read[slices.Index(order, digest)]
		}
		held[i].files = merge(layers)
	}
	return held, nil
}

// findOrRead returns what a layer holds.
func findOrRead(ctx context.Context, digest v1.Hash, from v1.Layer, cache Cache) (layer, error) {
	if size, err := from.Size(); err != nil || size < smallLayer {
		l, readErr := readLayer(ctx, from)
		return l, errors.Join(err, readErr)
	}
	name := layerFormat + "." + digest.Hex
	record, err := cache.Find(ctx, name)
	if err != nil {
		return layer{}, err
	}
	if record != nil {
		// What can't be read there is replaced.
		if l, err := decodeLayer(record); err == nil {
			return l, nil
		}
	}
	l, err := readLayer(ctx, from)
	if err != nil && ctx.Err() == nil {
		l, err = readLayer(ctx, from) // A stream was cut, perhaps.
	}
	if err != nil {
		return l, err
	}
	if record, err = l.encode(); err != nil {
		return l, err
	}
	cache.Keep(ctx, name, record)
	return l, nil
}

// sorted returns the paths of the files that tell of what is in the image.
func (h Held) sorted() []string { return slices.Sorted(maps.Keys(h.files)) }
