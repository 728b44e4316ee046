package attest_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	embedded "github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// registries are all kinds of registry, each with how to start one and get its
// address.
var registries = map[string]func(*testing.T) string{
	"the embedded one": func(t *testing.T) string {
		e, err := embedded.Serve(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return e.Address()
	},
	"one with the referrers API": func(t *testing.T) string { return inMemory(t, registry.WithReferrersSupport(true)) },
	"one without":                func(t *testing.T) string { return inMemory(t) },
}

func inMemory(t *testing.T, options ...registry.Option) string {
	server := httptest.NewServer(registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// everywhere runs a test against every kind of registry, with an image in it.
func everywhere(t *testing.T, test func(*testing.T, name.Digest)) {
	t.Helper()
	for label, start := range registries {
		t.Run(label, func(t *testing.T) { test(t, pushImage(t, start(t)+"/acme/site")) })
	}
}

func pushImage(t *testing.T, repository string) name.Digest {
	t.Helper()
	to, err := name.NewRepository(repository)
	if err != nil {
		t.Fatal(err)
	}
	image, err := random.Image(1<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pushed := to.Digest(digest.String())
	if err := remote.Write(pushed, image); err != nil {
		t.Fatal(err)
	}
	return pushed
}

// referrers lists what is attached to an image.
func referrers(t *testing.T, image name.Digest) []v1.Descriptor {
	t.Helper()
	index, err := remote.Referrers(image)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return listed.Manifests
}

// listTag is where they are listed in a registry without the referrers API.
func listTag(image name.Digest) name.Tag {
	return image.Context().Tag(strings.Replace(image.DigestStr(), ":", "-", 1))
}

const proofType = "application/vnd.example.proof+json"

func attach(t *testing.T, image name.Digest, kind, content, created string) name.Digest {
	t.Helper()
	var annotations map[string]string
	if created != "" {
		annotations = map[string]string{attest.CreatedAnnotation: created}
	}
	artifacts, err := attest.Attach(t.Context(), image, []attest.Artifact{{Type: kind, Content: []byte(content), Annotations: annotations}})
	if err != nil {
		t.Fatal(err)
	}
	return artifacts[0]
}

func TestAttach(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		artifact := attach(t, image, proofType, "{}\n", "2024-03-20T12:00:00Z")
		pushed, err := remote.Image(artifact)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pushed.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if got.ArtifactType != proofType || got.MediaType != types.OCIManifestSchema1 {
			t.Errorf("a manifest of type %s and of artifact type %s", got.MediaType, got.ArtifactType)
		}
		if got.Config.MediaType != "application/vnd.oci.empty.v1+json" || got.Config.Size != 2 {
			t.Errorf("its configuration is %v, not empty", got.Config)
		}
		if got.Subject == nil || got.Subject.Digest.String() != image.DigestStr() || got.Subject.MediaType != types.DockerManifestSchema2 {
			t.Errorf("its subject is %v, want %s", got.Subject, image)
		}
		if len(got.Layers) != 1 || got.Layers[0].MediaType != proofType {
			t.Errorf("its contents are %v", got.Layers)
		}
		if len(got.Annotations) != 1 || got.Annotations[attest.CreatedAnnotation] != "2024-03-20T12:00:00Z" {
			t.Errorf("its annotations are %v", got.Annotations)
		}
	})
}

func TestAttachAgainChangesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		first := attach(t, image, proofType, "proof", "")
		again := attach(t, image, proofType, "proof", "")
		if again != first {
			t.Errorf("the artifact was %s and is %s", first, again)
		}
		if listed := referrers(t, image); len(listed) != 1 || listed[0].Digest.String() != first.DigestStr() {
			t.Errorf("attached are %v", listed)
		}
	})
}

// The list under the tag may have missed an artifact: the connection broke, or
// another list was written over it.
func TestAttachAgainMendsTheList(t *testing.T) {
	address := registries["the embedded one"](t)
	image := pushImage(t, address+"/acme/site")
	attach(t, image, proofType, "proof", "")
	descriptor, err := remote.Head(listTag(image))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(image.Context().Digest(descriptor.Digest.String())); err != nil {
		t.Fatal(err)
	}
	if listed := referrers(t, image); len(listed) != 0 {
		t.Fatalf("still listed are %v", listed)
	}
	attach(t, image, proofType, "proof", "")
	if listed := referrers(t, image); len(listed) != 1 {
		t.Errorf("listed are %v", listed)
	}
}

func TestAttached(t *testing.T) {
	type attachment struct{ kind, content, created string }
	for label, test := range map[string]struct {
		attached []attachment
		want     string
		none     bool
	}{
		"nothing":          {none: true},
		"of another type":  {attached: []attachment{{attest.SBOMType, "sbom", ""}}, none: true},
		"beside another":   {attached: []attachment{{attest.SBOMType, "sbom", ""}, {proofType, "proof", ""}}, want: "proof"},
		"empty":            {attached: []attachment{{proofType, "", ""}}, want: ""},
		"older one last":   {attached: []attachment{{proofType, "new", "2024-03-20T12:00:00Z"}, {proofType, "old", "2024-03-19T12:00:00Z"}}, want: "new"},
		"newer one last":   {attached: []attachment{{proofType, "old", "2024-03-20T12:00:00Z"}, {proofType, "new", "2024-03-20T12:00:00.5Z"}}, want: "new"},
		"in another zone":  {attached: []attachment{{proofType, "old", "2024-03-20T12:30:00+02:00"}, {proofType, "new", "2024-03-20T11:30:00Z"}}, want: "new"},
		"one without time": {attached: []attachment{{proofType, "new", "2024-03-20T12:00:00Z"}, {proofType, "old", ""}}, want: "new"},
	} {
		t.Run(label, func(t *testing.T) {
			everywhere(t, func(t *testing.T, image name.Digest) {
				for _, a := range test.attached {
					attach(t, image, a.kind, a.content, a.created)
				}
				got, err := attest.Attached(t.Context(), image, proofType)
				if err != nil {
					t.Fatal(err)
				}
				if (got == nil) != test.none || string(got) != test.want {
					t.Errorf("got %q, none: %t; want %q, none: %t", got, got == nil, test.want, test.none)
				}
			})
		})
	}
}

func TestAttachedPassesOverTheDeleted(t *testing.T) {
	address := registries["the embedded one"](t)
	image := pushImage(t, address+"/acme/site")
	attach(t, image, proofType, "old", "2024-03-19T12:00:00Z")
	newest := attach(t, image, proofType, "new", "2024-03-20T12:00:00Z")
	if err := remote.Delete(newest); err != nil {
		t.Fatal(err)
	}
	got, err := attest.Attached(t.Context(), image, proofType)
	if err != nil || string(got) != "old" {
		t.Errorf("got %q, %v; want the one that is left", got, err)
	}
}

// An account that may push may write the list.
func TestAttachedPassesOverWhatIsAnotherImages(t *testing.T) {
	address := registries["the embedded one"](t)
	image, other := pushImage(t, address+"/acme/site"), pushImage(t, address+"/acme/site")
	attach(t, other, proofType, "proof of the other", "")
	list, err := remote.Get(listTag(other))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Tag(listTag(image), list); err != nil {
		t.Fatal(err)
	}
	if got, err := attest.Attached(t.Context(), image, proofType); got != nil || err != nil {
		t.Errorf("got %q, %v; want nothing", got, err)
	}
}

// Tools older than OCI 1.1 say the artifact's type as the configuration's.
func TestAttachedReadsOtherTools(t *testing.T) {
	for label, test := range map[string]struct {
		contents []string
		want     string
		fails    string
	}{
		"one content":  {contents: []string{"proof"}, want: "proof"},
		"two contents": {contents: []string{"proof", "more"}, fails: "it has 2 contents, not one"},
		"no content":   {fails: "it has 0 contents, not one"},
	} {
		t.Run(label, func(t *testing.T) {
			everywhere(t, func(t *testing.T, image name.Digest) {
				subject, err := remote.Head(image)
				if err != nil {
					t.Fatal(err)
				}
				artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), proofType)
				for _, content := range test.contents {
					artifact, err = mutate.Append(artifact, mutate.Addendum{Layer: static.NewLayer([]byte(content), proofType)})
					if err != nil {
						t.Fatal(err)
					}
				}
				artifact = mutate.Subject(artifact, *subject).(v1.Image)
				digest, err := artifact.Digest()
				if err != nil {
					t.Fatal(err)
				}
				if err := remote.Write(image.Context().Digest(digest.String()), artifact); err != nil {
					t.Fatal(err)
				}
				got, err := attest.Attached(t.Context(), image, proofType)
				if string(got) != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if test.fails == "" && err != nil || test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
					t.Errorf("error %v, want %q in it", err, test.fails)
				}
			})
		})
	}
}

func TestAttachNeedsItsImage(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		absent := image.Context().Digest(imageDigest)
		if _, err := attest.Attach(t.Context(), absent, []attest.Artifact{{Type: proofType}}); err == nil || !strings.Contains(err.Error(), "look up "+absent.String()) {
			t.Errorf("attached to nothing: %v", err)
		}
		if got, err := attest.Attached(t.Context(), absent, proofType); got != nil || err != nil {
			t.Errorf("attached to nothing is %q, %v", got, err)
		}
	})
}

func TestCancelledContextEndsIt(t *testing.T) {
	image := pushImage(t, inMemory(t)+"/acme/site")
	signer, _ := newKey(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, attaching := attest.Attach(cancelled, image, []attest.Artifact{{Type: proofType}})
	_, reading := attest.Attached(cancelled, image, proofType)
	for what, err := range map[string]error{
		"attach": attaching, "attached": reading, "sign": signer.Sign(cancelled, image, ""), "verify": attest.Verify(cancelled, image, publicKey(t, signer)),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives %v", what, err)
		}
	}
}
