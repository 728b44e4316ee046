package attest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// CreatedAnnotation says, in RFC 3339, when an artifact was made. Where an
// image gets several artifacts of one type, it tells the newest.
const CreatedAnnotation = "org.opencontainers.image.created"

// emptyType is the type of the content {}, OCI's configuration of an artifact
// that needs none.
const emptyType types.MediaType = "application/vnd.oci.empty.v1+json"

// maxContent is the most that is read of an artifact, in bytes.
const maxContent = 64 << 20

// Attach pushes content as an artifact whose subject is the image, and returns
// the artifact's digest. Again with the same content and annotations it
// changes nothing.
//
// Two at the same time in a registry without the referrers API may lose one of
// them: the list under the tag is read and written back.
func Attach(ctx context.Context, image name.Digest, artifactType, mediaType string, content []byte, annotations map[string]string, options ...remote.Option) (name.Digest, error) {
	options = within(ctx, options)
	subject, err := remote.Head(image, options...)
	if err != nil {
		return name.Digest{}, fmt.Errorf("look up %s: %w", image, err)
	}
	config, err := push(image.Context(), static.NewLayer([]byte("{}"), emptyType), options)
	if err != nil {
		return name.Digest{}, fmt.Errorf("push configuration of %s: %w", artifactType, err)
	}
	body, err := push(image.Context(), static.NewLayer(content, types.MediaType(mediaType)), options)
	if err != nil {
		return name.Digest{}, fmt.Errorf("push %s: %w", artifactType, err)
	}
	text, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Annotations: annotations,
		Config: *config, Layers: []v1.Descriptor{*body},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
	})
	if err != nil {
		return name.Digest{}, fmt.Errorf("encode manifest of %s: %w", artifactType, err)
	}
	digest, err := partial.Digest(manifest(text))
	if err != nil {
		return name.Digest{}, fmt.Errorf("name %s: %w", artifactType, err)
	}
	attached := image.Context().Digest(digest.String())
	if err := remote.Put(attached, manifest(text), options...); err != nil {
		return name.Digest{}, fmt.Errorf("attach %s to %s: %w", artifactType, image, err)
	}
	return attached, nil
}

func push(to name.Repository, layer v1.Layer, options []remote.Option) (*v1.Descriptor, error) {
	if err := remote.WriteLayer(to, layer, options...); err != nil {
		return nil, err
	}
	return partial.Descriptor(layer)
}

// manifest is the text of an OCI manifest whose blobs are in the registry.
type manifest []byte

// RawManifest returns the text.
func (m manifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType says that it is OCI's, where Docker's is taken for granted.
func (m manifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Attached returns the content of the newest artifact of a type, or nil if there
// is none. The newest is the one with the latest [CreatedAnnotation]; among
// those without one, or with the same, it is always the same but any.
func Attached(ctx context.Context, image name.Digest, artifactType string, options ...remote.Option) ([]byte, error) {
	options = within(ctx, options)
	index, err := remote.Referrers(image, options...)
	if err != nil {
		return nil, fmt.Errorf("list artifacts of %s: %w", image, err)
	}
	listed, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("list artifacts of %s: %w", image, err)
	}
	// The referrers API lists them in no order.
	slices.SortFunc(listed.Manifests, func(a, b v1.Descriptor) int { return cmp.Compare(a.Digest.String(), b.Digest.String()) })
	var newest v1.Image
	var created time.Time
	for _, descriptor := range listed.Manifests {
		// A registry may take the configuration's type for the artifact's.
		if kind := descriptor.ArtifactType; kind != artifactType && kind != string(emptyType) {
			continue
		}
		reference := image.Context().Digest(descriptor.Digest.String())
		candidate, err := remote.Image(reference, options...)
		switch {
		case missing(err):
			// It was deleted, and the list under the tag not told.
			continue
		case err != nil:
			return nil, fmt.Errorf("read artifact %s: %w", reference, err)
		}
		about, err := candidate.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read artifact %s: %w", reference, err)
		}
		if cmp.Or(about.ArtifactType, string(about.Config.MediaType)) != artifactType ||
			about.Subject == nil || about.Subject.Digest.String() != image.DigestStr() {
			continue
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

// only reads the one layer of an artifact.
func only(artifact v1.Image) ([]byte, error) {
	about, err := artifact.Manifest()
	if err != nil {
		return nil, err
	}
	if len(about.Layers) != 1 {
		return nil, fmt.Errorf("it has %d contents, not one", len(about.Layers))
	}
	if size := about.Layers[0].Size; size > maxContent {
		return nil, fmt.Errorf("it has %d bytes, more than %d", size, maxContent)
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

// within makes requests end with a context.
func within(ctx context.Context, options []remote.Option) []remote.Option {
	return append(slices.Clone(options), remote.WithContext(ctx))
}

// missing reports whether a registry answered that it does not have something.
func missing(err error) bool {
	var status *transport.Error
	return errors.As(err, &status) && status.StatusCode == http.StatusNotFound
}
