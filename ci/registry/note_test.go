package registry

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
)

// A note comes back as it was kept, to the byte, from whichever store has it.
func TestNotes(t *testing.T) {
	first, second := &Stages{Target: target(t)}, &Stages{Target: target(t)}
	b := &image.Builder{Stores: []image.Store{first, second}}
	note, content := image.Note{Name: "contents", Of: "1.ab"}, []byte("\x1f\x8b\x00\xff, of no text")
	if found, err := b.FindNote(t.Context(), note); found != nil || err != nil {
		t.Errorf("empty stores have %q, %v", found, err)
	}
	if err := (&image.Builder{Stores: []image.Store{second}}).KeepNote(t.Context(), note, content); err != nil {
		t.Fatal(err)
	}
	if found, err := b.FindNote(t.Context(), note); !bytes.Equal(found, content) || err != nil {
		t.Errorf("found %q, %v; want %q", found, err, content)
	}
	if found, err := b.FindNote(t.Context(), image.Note{Name: "contents", Of: "1.cd"}); found != nil || err != nil {
		t.Errorf("of another there is %q, %v", found, err)
	}
	newer := []byte("newer")
	if err := b.KeepNote(t.Context(), note, newer); err != nil {
		t.Fatal(err)
	}
	if found, err := b.FindNote(t.Context(), note); !bytes.Equal(found, newer) || err != nil {
		t.Errorf("kept again it is %q, %v; want %q", found, err, newer)
	}
	names := tags(t, first.Target)
	if len(names) != 1 || !strings.HasPrefix(names[0], "stage.contents.") {
		t.Fatalf("the store that is written to has the tags %q", names)
	}
	other, err := random.Image(10, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Keep(t.Context(), names[0], other); err != nil {
		t.Fatal(err)
	}
	if _, err := b.FindNote(t.Context(), note); err == nil || err.Error() != "read contents: it has 2 contents, not one" {
		t.Errorf("what is no note is read: %v", err)
	}
}
