package attest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
)

// CreatedAnnotation says, in RFC 3339, when an artifact was made. Where an
// image gets several artifacts of one type, it tells the newest.
const CreatedAnnotation = "org.opencontainers.image.created"

// emptyType is the type of the content {}, OCI's configuration of an artifact
// that needs none.
const emptyType types.MediaType = "application/vnd.oci.empty.v1+json"

// maxContent is the most that is read of an artifact, in bytes.
const maxContent = 64 << 20

// Artifact is what can be attached to an image.
type Artifact struct {
	// Type is the media type of the content, and the artifact's own.
	Type    string
	Content []byte
	// Annotations may be nil.
	Annotations map[string]string
}

// Attach pushes artifacts whose subject is the image, and returns their
// digests. Again with the same contents and annotations it changes nothing.
//
// A registry without the referrers API has a list of an image's artifacts under a tag.
// The artifacts of one call are listed at once. Where the tag can't be written, because
// it is there and does not move, the artifacts are pushed all the same, and the error is
// an *[UnlistedError]. Two processes that write the list at the same time may in rare
// cases lose artifacts of one of them from it.
func Attach(ctx context.Context, image name.Digest, artifacts []Artifact, options ...remote.Option) ([]name.Digest, error) {
	options = within(ctx, options)
	subject, err := remote.Head(image, options...)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", image, err)
	}
	lists.Lock()
	defer lists.Unlock()
	var digests []name.Digest
	var unnoted []v1.Descriptor
	for _, artifact := range artifacts {
		pushed, noted, err := attach(image, subject, artifact, options)
		if err != nil {
			return digests, fmt.Errorf("attach %s to %s: %w", artifact.Type, image, err)
		}
		digests = append(digests, image.Context().Digest(pushed.Digest.String()))
		if !noted {
			unnoted = append(unnoted, pushed)
		}
	}
	if len(unnoted) == 0 {
		return digests, nil
	}
	listed, err := referrers(image, options)
	if err == nil {
		err = list(image, without(unnoted, listed), options)
	}
	if err != nil {
		return digests, fmt.Errorf("attach to %s: %w", image, err)
	}
	return digests, nil
}

// attach pushes one artifact. It reports whether the registry has noted whose it is.
func attach(image name.Digest, subject *v1.Descriptor, artifact Artifact, options []remote.Option) (pushed v1.Descriptor, noted bool, err error) {
	config, err := push(image.Context(), static.NewLayer([]byte("{}"), emptyType), options)
	if err != nil {
		return pushed, false, fmt.Errorf("push configuration: %w", err)
	}
	body, err := push(image.Context(), static.NewLayer(artifact.Content, types.MediaType(artifact.Type)), options)
	if err != nil {
		return pushed, false, fmt.Errorf("push content: %w", err)
	}
	text, err := encode(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifact.Type, Annotations: artifact.Annotations,
		Config: *config, Layers: []v1.Descriptor{*body},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
	})
	if err != nil {
		return pushed, false, err
	}
	manifest := raw{text, types.OCIManifestSchema1}
	digest, err := partial.Digest(manifest)
	if err != nil {
		return pushed, false, err
	}
	api := &referrersAPI{next: remote.DefaultTransport, pushes: true}
	err = remote.Put(image.Context().Digest(digest.String()), manifest, append(slices.Clone(options), remote.WithTransport(api))...)
	return v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Size: int64(len(text)), Digest: digest, ArtifactType: artifact.Type, Annotations: artifact.Annotations,
	}, api.subject.Load(), err
}

func push(to name.Repository, layer v1.Layer, options []remote.Option) (*v1.Descriptor, error) {
	if err := remote.WriteLayer(to, layer, options...); err != nil {
		return nil, err
	}
	return partial.Descriptor(layer)
}

// raw is the text of a manifest, whose blobs are in the registry.
type raw struct {
	text []byte
	kind types.MediaType
}

func encode(manifest any) ([]byte, error) {
	text, err := json.Marshal(manifest)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return text, nil
}

// RawManifest returns the text.
func (m raw) RawManifest() ([]byte, error) { return m.text, nil }

// MediaType says which manifest it is, where Docker's is taken for granted.
func (m raw) MediaType() (types.MediaType, error) { return m.kind, nil }

// Attached returns the content of the newest artifact of a type, or nil if there
// is none. The newest is the one with the latest [CreatedAnnotation]; among
// those without one, or with the same, it is always the same but any.
func Attached(ctx context.Context, image name.Digest, artifactType string, options ...remote.Option) ([]byte, error) {
	found, err := attached(image, artifactType, within(ctx, options))
	if err != nil {
		return nil, err
	}
	var newest v1.Image
	var created time.Time
	for _, candidate := range found {
		about, err := candidate.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", artifactType, image, err)
		}
		// One that says nothing is older than one that does.
		when, _ := time.Parse(time.RFC3339, about.Annotations[CreatedAnnotation])
		if newest == nil || when.After(created) {
			newest, created = candidate, when
		}
	}
	if newest == nil {
		return nil, nil
	}
	content, err := only(newest)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", artifactType, image, err)
	}
	return content, nil
}

// attached returns an image's artifacts of a type, in an order that is always the same.
func attached(image name.Digest, artifactType string, options []remote.Option) ([]v1.Image, error) {
	listed, err := referrers(image, options)
	if err != nil {
		return nil, fmt.Errorf("list artifacts of %s: %w", image, err)
	}
	// The referrers API lists them in no order.
	slices.SortFunc(listed, func(a, b v1.Descriptor) int { return cmp.Compare(a.Digest.String(), b.Digest.String()) })
	var found []v1.Image
	for _, descriptor := range listed {
		// A registry may take the configuration's type for the artifact's.
		if kind := descriptor.ArtifactType; kind != artifactType && kind != string(emptyType) {
			continue
		}
		reference := image.Context().Digest(descriptor.Digest.String())
		candidate, err := remote.Image(reference, options...)
		switch {
		case answer.Missing(err):
			// It was deleted, and the list under the tag not told.
			continue
		case err != nil:
			return nil, fmt.Errorf("read artifact %s: %w", reference, err)
		}
		about, err := candidate.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read artifact %s: %w", reference, err)
		}
		if cmp.Or(about.ArtifactType, string(about.Config.MediaType)) == artifactType &&
			about.Subject != nil && about.Subject.Digest.String() == image.DigestStr() {
			found = append(found, candidate)
		}
	}
	return found, nil
}

// errForm says of an artifact that it was not made here, nor by a tool that is known.
var errForm = errors.New("artifact of another form")

// only reads the one layer of an artifact.
func only(artifact v1.Image) ([]byte, error) {
	about, err := artifact.Manifest()
	if err != nil {
		return nil, err
	}
	if len(about.Layers) != 1 {
		return nil, fmt.Errorf("%w: it has %d contents, not one", errForm, len(about.Layers))
	}
	if size := about.Layers[0].Size; size > maxContent {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", errForm, size, maxContent)
	}
	return blob(artifact, about.Layers[0].Digest)
}

// blob reads a layer as it is. What does not match the digest is an error.
func blob(image v1.Image, digest v1.Hash) (_ []byte, err error) {
	layer, err := image.LayerByDigest(digest)
	if err != nil {
		return nil, err
	}
	stream, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	return io.ReadAll(stream)
}
