package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
)

// stagePrefix begins the tags of stages, and notePrefix those of notes.
const (
	stagePrefix = "stage."
	notePrefix  = stagePrefix + "used."
)

// noteType is the media type of a note's content, a [note] as JSON.
const noteType types.MediaType = "application/vnd.erpnext-pipeline.uses.v1+json"

// note says which stages a build used. No registry tells when something was
// pulled, so each build leaves a note, under the tag stage.used.DATE.HASH. The
// hash is that of the content, so a tag names one note for ever, and a second
// build of the same on one day leaves none.
type note struct {
	// Version is what was built; empty for stages that were only seen.
	Version string `json:"version,omitempty"`
	// Stages are their tags, sorted.
	Stages []string `json:"stages"`
	// Day is that of the note. Without it those of two days would be one manifest, and
	// deleting the older one would take both tags.
	Day string `json:"day"`

	tag string
	// day is the day of the note, at midnight UTC.
	day time.Time
}

// NoteUse notes that the stages of these tags were used at a time, for a version or
// for none. One request is enough where a build of that day has noted the same.
func NoteUse(ctx context.Context, t Target, version string, stages []string, at time.Time) error {
	stages = slices.Clone(stages)
	slices.Sort(stages)
	today := at.UTC().Format(time.DateOnly)
	text, err := json.Marshal(note{Version: version, Stages: slices.Compact(stages), Day: today})
	if err != nil {
		return fmt.Errorf("note used stages: %w", err)
	}
	sum := sha256.Sum256(text)
	tag := notePrefix + today + "." + hex.EncodeToString(sum[:16])
	if there, err := t.head(ctx, tag); err != nil || there != nil {
		return err
	}
	made := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	made, err = mutate.Append(made, mutate.Addendum{Layer: static.NewLayer(text, noteType), MediaType: noteType})
	if err != nil {
		return fmt.Errorf("note used stages: %w", err)
	}
	if err := (&Stages{Target: t}).Keep(ctx, tag, made); err != nil {
		return fmt.Errorf("note used stages: %w", err)
	}
	return nil
}

// noteDay returns the day of a note by its tag. It reports false for other tags.
func noteDay(tag string) (time.Time, bool) {
	rest, is := strings.CutPrefix(tag, notePrefix)
	day, hash, _ := strings.Cut(rest, ".")
	at, err := time.Parse(time.DateOnly, day)
	return at, is && err == nil && hash != ""
}

// readNote returns the note of a tag; nil where it is gone.
func readNote(ctx context.Context, t Target, tag string) (*note, error) {
	n, err := (&Stages{Target: t}).Stage(ctx, tag)
	if err != nil || n == nil {
		return nil, err
	}
	text, err := image.ContentOf(n)
	if answer.Missing(err) {
		return nil, nil
	}
	found := note{tag: tag}
	found.day, _ = noteDay(tag)
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", tag, err)
	}
	return &found, nil
}

// inUse returns the notes that count: those of a day from a time on, those of the
// last day on which something was built, and for each of the last versions, at most
// so many, those of the last day on which it was built. released says which
// versions have an image.
func inUse(notes []note, since time.Time, versions int, released map[string]bool) []note {
	slices.SortFunc(notes, func(a, b note) int { return b.day.Compare(a.day) })
	since = since.UTC().Truncate(24 * time.Hour)
	var last time.Time
	lastOf := map[string]time.Time{}
	var use []note
	for _, n := range notes {
		if last.IsZero() && n.Version != "" {
			last = n.day
		}
		if _, known := lastOf[n.Version]; !known && released[n.Version] && len(lastOf) < versions {
			lastOf[n.Version] = n.day
		}
		if !n.day.Before(since) || n.Version != "" && n.day.Equal(last) || !lastOf[n.Version].IsZero() && lastOf[n.Version].Equal(n.day) {
			use = append(use, n)
		}
	}
	return use
}
