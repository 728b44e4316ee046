package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Retention says which stages stay.
type Retention struct {
	// Since is the time from which on a use counts, to the day in UTC.
	Since time.Time
	// Versions is of how many of the last built versions that have an image the
	// stages stay, however long ago that was.
	Versions int
}

// Unused are the stages of a registry that no build has used for long.
type Unused struct {
	// Stages are their tags, sorted.
	Stages []string
	// Unknown are stages that no note names: those of a version of the program
	// that wrote none. They stay, and are to be noted, so that their time begins.
	Unknown []string
	// Size is what they take up alone, in bytes: without what images and other
	// stages have too.
	Size int64

	// notes are the tags of notes that say nothing any more.
	notes []string
	// digests are those of the stages, and held those of tags that stay.
	digests map[string]v1.Hash
	held    map[v1.Hash]bool
}

// FindUnused finds the stages that no note names which counts, see [Retention], and
// none of whose layers an image with a tag has: such a stage takes up no room, and
// the image is made from it again. Nothing changes.
func FindUnused(ctx context.Context, t Target, r Retention) (Unused, error) {
	tags, err := listTags(ctx, t)
	if err != nil {
		return Unused{}, err
	}
	var notes, stages, images []string
	released := map[string]bool{}
	for _, tag := range tags {
		switch _, isNote := noteDay(tag); {
		case isNote:
			notes = append(notes, tag)
		case strings.HasPrefix(tag, notePrefix):
			// A note in a form that a later version of the program may know.
		case strings.HasPrefix(tag, stagePrefix):
			stages = append(stages, tag)
		case !strings.HasPrefix(tag, "sha256-"): // lists of artifacts
			images = append(images, tag)
			released[tag] = true
		}
	}
	read, err := each(ctx, notes, func(ctx context.Context, tag string) (*note, error) { return readNote(ctx, t, tag) })
	if err != nil {
		return Unused{}, err
	}
	known, used, counts := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, n := range read {
		for _, tag := range n.Stages {
			known[tag] = true
		}
	}
	for _, n := range inUse(read, r.Since, r.Versions, released) {
		counts[n.tag] = true
		for _, tag := range n.Stages {
			used[tag] = true
		}
	}
	u := Unused{digests: map[string]v1.Hash{}, held: map[v1.Hash]bool{}}
	for _, tag := range notes {
		if !counts[tag] {
			u.notes = append(u.notes, tag)
		}
	}
	if !slices.ContainsFunc(stages, func(tag string) bool { return !used[tag] }) {
		return u, nil
	}
	contents, err := each(ctx, slices.Concat(images, stages), func(ctx context.Context, tag string) (*content, error) { return readContent(ctx, t, tag) })
	if err != nil {
		return Unused{}, err
	}
	u.sort(contents, released, known, used)
	return u, nil
}

// sort tells the stages that go from those that stay.
func (u *Unused) sort(contents []content, released, known, used map[string]bool) {
	inImage, stays := map[v1.Hash]bool{}, map[v1.Hash]bool{}
	for _, c := range contents {
		if released[c.tag] {
			c.mark(inImage)
		}
	}
	var going []content
	for _, c := range contents {
		switch {
		case released[c.tag], used[c.tag], slices.ContainsFunc(c.blobs, func(d v1.Descriptor) bool { return inImage[d.Digest] }):
		case !known[c.tag]:
			u.Unknown = append(u.Unknown, c.tag)
		default:
			u.Stages = append(u.Stages, c.tag)
			u.digests[c.tag] = c.digest
			going = append(going, c)
			continue
		}
		c.mark(stays)
		for _, digest := range append(c.children, c.digest) {
			u.held[digest] = true
		}
	}
	for _, c := range going {
		for _, blob := range c.blobs {
			if !stays[blob.Digest] {
				stays[blob.Digest] = true // counted once
				u.Size += blob.Size
			}
		}
	}
	slices.Sort(u.Stages)
	slices.Sort(u.Unknown)
}

// RemoveUnused removes stages, and the notes that say nothing any more, and returns
// the tags of the stages that are gone. A registry that does not let anything be
// deleted is a *problem.Error.
//
// What a builder has found a moment before is gone for it as well: it builds the
// stage again.
func RemoveUnused(ctx context.Context, t Target, u Unused) (removed []string, err error) {
	for _, tag := range u.Stages {
		gone, err := u.remove(ctx, t, tag, u.digests[tag])
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, tag)
		}
	}
	for _, tag := range u.notes {
		descriptor, err := t.head(ctx, tag)
		if err == nil && descriptor != nil {
			_, err = u.remove(ctx, t, tag, descriptor.Digest)
		}
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// Only returns the unused stages without those that are not among tags.
func (u Unused) Only(tags []string) Unused {
	u.Stages = slices.DeleteFunc(slices.Clone(u.Stages), func(tag string) bool { return !slices.Contains(tags, tag) })
	return u
}

// remove deletes a tag, and then its manifest: there are registries that know the
// one alone, and those that delete a manifest only when it has no tag. A manifest
// takes all its tags with it, so one that stays under another tag is left alone:
// then remove reports false where the registry does not delete tags.
func (u Unused) remove(ctx context.Context, t Target, tag string, digest v1.Hash) (bool, error) {
	reference, err := t.tag(tag)
	if err != nil {
		return false, err
	}
	byTag := remote.Delete(reference, t.Options(ctx)...)
	if byTag != nil && !refusal(byTag) {
		return false, fmt.Errorf("delete %s: %w", reference, byTag)
	}
	if u.held[digest] {
		return byTag == nil, nil
	}
	byDigest := remote.Delete(reference.Context().Digest(digest.String()), t.Options(ctx)...)
	switch {
	case byDigest == nil, byTag == nil && answer.Missing(byDigest):
		return true, nil
	case answer.Missing(byDigest):
		// Gone already, or a registry that knows no such request.
		still, err := t.head(ctx, tag)
		if err == nil && still != nil {
			err = undeletable(t, byDigest)
		}
		return err == nil, err
	case !refusal(byDigest):
		return false, fmt.Errorf("delete %s: %w", reference, byDigest)
	case byTag == nil:
		return true, nil // what has no tag goes when the registry tidies up
	default:
		return false, undeletable(t, byDigest)
	}
}

// refusal reports whether a registry answered that it does not delete this way, or
// does not have it.
func refusal(err error) bool {
	var status *transport.Error
	if !errors.As(err, &status) {
		return false
	}
	switch status.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// undeletable turns a registry's refusal into a problem with its remedy.
func undeletable(t Target, err error) error {
	var status *transport.Error
	if !errors.As(err, &status) {
		return err
	}
	p := problem.Problem{
		Code: "registry.no-delete", Subject: strings.TrimSpace("REGISTRY " + t.Host), Err: err,
		Detail: fmt.Sprintf("does not delete tags or manifests through its API: it answers %d", status.StatusCode),
		Remedy: "turn deleting on there (in distribution, storage.delete.enabled), or let the registry's own retention rules remove tags that begin with " + stagePrefix,
	}
	if status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden {
		p.Code, p.Detail = "registry.forbidden", "does not let this account delete tags of "+t.Name
		p.Remedy = "give the account that right, or let the registry's own retention rules remove tags that begin with " + stagePrefix
	}
	return problem.Report{p}.Err()
}
