package image

import (
	"context"
	"errors"
	"fmt"

	"dagger.io/dagger"
)

// Folder is a folder that is kept beside the stages, and is part of no image.
type Folder struct {
	// Name is one word, and of lower case.
	Name string
	// Of is everything that says which folder of that name it is.
	Of []string
}

func (b *Builder) useFolder(f Folder) *stage {
	s := &stage{name: f.Name, key: keyOf(f.Name, f.Of)}
	if b.Uses != nil {
		b.Uses([]string{s.tag()})
	}
	return s
}

// folderAt is where a folder lies in its stage.
const folderAt = "/kept"

// Find returns a folder that a build before has kept; nil where no store has it.
func (b *Builder) Find(ctx context.Context, f Folder) (*dagger.Directory, error) {
	s := b.useFolder(f)
	for _, store := range b.Stores {
		found, err := store.Stage(ctx, s.tag())
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", f.Name, err)
		}
		if found == nil {
			continue
		}
		c, err := store.Container(ctx, b.Client, found)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", f.Name, err)
		}
		return c.Directory(folderAt), nil
	}
	return nil, nil
}

// Keep keeps a folder in the store that is written to, in place of one that is there,
// if that lets it be replaced. An image was built before.
func (b *Builder) Keep(ctx context.Context, f Folder, folder *dagger.Directory) error {
	s := b.useFolder(f)
	s.pack = func(context.Context, *dagger.Container) packing {
		return packing{from: folder, at: folderAt, seconds: epoch, passing: true}
	}
	_, err := b.packAndStore(ctx, s)
	var held *HeldError
	if errors.As(err, &held) && held.Other {
		return nil // The one that is there does as well.
	}
	return err
}
