package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Note is a small content that is kept beside the stages, and is part of no image.
type Note struct {
	// Name is one word, and of lower case.
	Name string
	// Of says which note of that name it is, and with that what is in it.
	Of string
}

// noteType is the media type of a note.
const noteType types.MediaType = "application/vnd.erpnext-pipeline.note.v1"

func (n Note) stage() *stage { return &stage{name: n.Name, key: keyOf(n.Name, n.Of)} }

// UseNotes tells that these are used.
func (b *Builder) UseNotes(notes ...Note) {
	if b.Uses == nil || len(notes) == 0 {
		return
	}
	tags := make([]string, len(notes))
	for i, n := range notes {
		tags[i] = n.stage().tag()
	}
	b.Uses(tags)
}

// FindNote returns what a build before has kept; nil where no store has it.
func (b *Builder) FindNote(ctx context.Context, n Note) ([]byte, error) {
	for _, store := range b.Stores {
		found, err := store.Stage(ctx, n.stage().tag())
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", n.Name, err)
		}
		if found == nil {
			continue
		}
		text, err := ContentOf(found)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", n.Name, err)
		}
		return text, nil
	}
	return nil, nil
}

// ContentOf returns what is kept in the one layer of what a store has as a stage.
func ContentOf(kept v1.Image) ([]byte, error) {
	layers, err := kept.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != 1 {
		return nil, fmt.Errorf("it has %d contents, not one", len(layers))
	}
	content, err := layers[0].Compressed()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(content)
	return text, errors.Join(err, content.Close())
}

// KeepNote keeps a content in the store that is written to. An image was built before.
func (b *Builder) KeepNote(ctx context.Context, n Note, content []byte) error {
	image, err := newImage([]mutate.Addendum{{Layer: static.NewLayer(content, noteType), MediaType: noteType}}, b.native, func(*v1.ConfigFile) {})
	if err == nil {
		err = b.Stores[0].Keep(ctx, n.stage().tag(), image)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", n.Name, err)
	}
	return nil
}
