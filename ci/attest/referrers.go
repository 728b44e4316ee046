package attest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
)

// UnlistedError is what [Attach] finds of artifacts that are in the registry, and that
// it can't list: it has no referrers API, and refuses to write the list under the tag.
type UnlistedError struct {
	// Tag is the tag, and Types are the types of the artifacts.
	Tag   name.Tag
	Types []string
	// Err is the registry's answer.
	Err error
}

func (e *UnlistedError) Error() string {
	return fmt.Sprintf("list %s under %s: %v", strings.Join(e.Types, ", "), e.Tag, e.Err)
}

// Unwrap returns the registry's answer.
func (e *UnlistedError) Unwrap() error { return e.Err }

// lists is held while a list under a tag is read and written back: no two of this
// process may do that at once.
var lists sync.Mutex

// listTag is the tag under which a registry without the referrers API has the list of
// an image's artifacts.
func listTag(image name.Digest) name.Tag {
	return image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1))
}

// referrers returns what refers to an image: what the API lists, and what is listed
// under the tag. A registry that got the API later has both, and one whose API answers
// without knowing anything the second alone.
func referrers(image name.Digest, options []remote.Option) ([]v1.Descriptor, error) {
	api := &referrersAPI{next: remote.DefaultTransport}
	index, err := remote.Referrers(image, append(slices.Clone(options), remote.WithTransport(api))...)
	if err != nil {
		return nil, err
	}
	about, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	listed := slices.Clone(about.Manifests)
	if !api.answered.Load() {
		return listed, nil // It is the one under the tag.
	}
	_, tagged, err := underTag(image, options)
	if about, head := remote.Head(listTag(image), options...); err != nil && head == nil && !about.MediaType.IsIndex() {
		return listed, nil // It is something else that has that tag.
	}
	if err != nil {
		return nil, err
	}
	return append(listed, without(tagged, listed)...), nil
}

// underTag returns the list under the tag, an empty one where there is none.
func underTag(image name.Digest, options []remote.Option) (v1.ImageIndex, []v1.Descriptor, error) {
	index, err := remote.Index(listTag(image), options...)
	if answer.Missing(err) {
		return mutate.IndexMediaType(empty.Index, types.OCIImageIndex), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	about, err := index.IndexManifest()
	if err != nil {
		return nil, nil, err
	}
	return index, about.Manifests, nil
}

// without returns the artifacts that are not in a list.
func without(artifacts, list []v1.Descriptor) []v1.Descriptor {
	return slices.DeleteFunc(slices.Clone(artifacts), func(a v1.Descriptor) bool {
		return slices.ContainsFunc(list, func(b v1.Descriptor) bool { return a.Digest == b.Digest })
	})
}

// mostWrites is how often a list is written where another process writes it as well.
const mostWrites = 3

// list makes sure that artifacts are listed under the tag.
func list(image name.Digest, artifacts []v1.Descriptor, options []remote.Option) error {
	for range mostWrites {
		index, listed, err := underTag(image, options)
		if err != nil {
			return err
		}
		unlisted := without(artifacts, listed)
		if len(unlisted) == 0 {
			return nil
		}
		about, err := index.IndexManifest()
		if err != nil {
			return err
		}
		about = about.DeepCopy()
		about.Manifests = append(about.Manifests, unlisted...)
		text, err := encode(about)
		if err != nil {
			return err
		}
		if err := remote.Put(listTag(image), raw{text, types.OCIImageIndex}, options...); answer.Refused(err) {
			// A write that was answered with a passing fault is tried again, and refused.
			if _, listed, again := underTag(image, options); again == nil && len(without(artifacts, listed)) == 0 {
				return nil
			}
			kinds := make([]string, len(unlisted))
			for i, artifact := range unlisted {
				kinds[i] = artifact.ArtifactType
			}
			return &UnlistedError{Tag: listTag(image), Types: kinds, Err: err}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// referrersAPI carries the requests of one call, and makes the same answer of all that
// registries without the referrers API say when they are asked for it: 404, as the
// OCI distribution specification has it. Some say that the method or the type is not
// allowed, that nothing is implemented, or show a page for people.
type referrersAPI struct {
	next http.RoundTripper
	// answered says that the API answered with a list.
	answered atomic.Bool
	// pushes says that an artifact is pushed: its pusher keeps the list, so the library,
	// which asks for the API only to know who keeps it, is told that the registry does.
	pushes bool
	// subject says that the registry has noted what an artifact refers to.
	subject atomic.Bool
}

// RoundTrip carries one request.
func (a *referrersAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	asks := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/referrers/sha")
	if asks && a.pushes {
		return reply(r, http.StatusOK), nil
	}
	response, err := a.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPut && response.Header.Get("OCI-Subject") != "" {
		a.subject.Store(true)
	}
	if !asks {
		return response, nil
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch status := response.StatusCode; {
	case status == http.StatusOK && kind == string(types.OCIImageIndex):
		a.answered.Store(true)
		response.Header.Set("Content-Type", kind) // without a parameter, which the library does not know
		return response, nil
	case status == http.StatusUnauthorized, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests,
		status >= 300 && status < 400, status >= 500 && status != http.StatusNotImplemented:
		return response, nil
	}
	_ = response.Body.Close()
	return reply(r, http.StatusNotFound), nil
}

func reply(r *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(nil)), Request: r,
	}
}

// within makes requests end with a context.
func within(ctx context.Context, options []remote.Option) []remote.Option {
	return append(slices.Clone(options), remote.WithContext(ctx))
}
