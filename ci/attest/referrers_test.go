package attest_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/registrykinds"
)

func quiet(options ...registry.Option) http.Handler {
	return registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...)
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// What registries without the referrers API say when they are asked for it.
func TestRegistriesWithoutReferrers(t *testing.T) {
	says := func(status int, kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	const index = "application/vnd.oci.image.index.v1+json"
	answers := map[string]http.HandlerFunc{
		"a page for people":               says(http.StatusOK, "text/html; charset=utf-8", "<html></html>"),
		"an empty list always":            says(http.StatusOK, index, `{"schemaVersion":2,"mediaType":"`+index+`","manifests":[]}`),
		"an empty list, with the charset": says(http.StatusOK, index+"; charset=utf-8", `{"schemaVersion":2,"mediaType":"`+index+`","manifests":[]}`),
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented} {
		answers[fmt.Sprint(status)] = says(status, "application/json", `{"errors":[]}`)
	}
	signer, _ := newKey(t)
	for label, answer := range answers {
		t.Run(label, func(t *testing.T) {
			image := pushImage(t, serve(t, registrykinds.Referrers(quiet(), answer))+"/acme/site")
			attach(t, image, proofType, "proof", "")
			attach(t, image, attest.SBOMType, "sbom", "")
			attached(t, image, signer)
			for kind, want := range map[string]string{proofType: "proof", attest.SBOMType: "sbom"} {
				if got, err := attest.Attached(t.Context(), image, kind); string(got) != want || err != nil {
					t.Errorf("%s: got %q, %v; want %q", kind, got, err, want)
				}
			}
			if err := attest.Verify(t.Context(), image, publicKey(t, signer)); err != nil {
				t.Error(err)
			}
			index, err := remote.Index(listTag(image))
			if err != nil {
				t.Fatal(err)
			}
			about, err := index.IndexManifest()
			if err != nil || len(about.Manifests) != 4 {
				t.Fatalf("listed are %v, %v", about, err)
			}
			for _, listed := range about.Manifests {
				if listed.ArtifactType == "" || listed.Size == 0 {
					t.Errorf("listed is %+v", listed)
				}
			}
		})
	}
}

// A registry that has the API, or says by a header that it noted the subject, needs no list.
func TestReferrersNeedNoTag(t *testing.T) {
	for label, handler := range map[string]http.Handler{
		"it lists": quiet(registry.WithReferrersSupport(true)),
		"it says so": func() http.HandlerFunc {
			behind := quiet()
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256:") {
					w.Header().Set("OCI-Subject", "sha256:")
				}
				behind.ServeHTTP(w, r)
			}
		}(),
	} {
		t.Run(label, func(t *testing.T) {
			image := pushImage(t, serve(t, handler)+"/acme/site")
			attach(t, image, proofType, "proof", "")
			if _, err := remote.Head(listTag(image)); err == nil {
				t.Error("there is a list under the tag")
			}
		})
	}
}

// A registry that got the API later lists there what was attached since.
func TestReferrersOfBothKinds(t *testing.T) {
	behind, later := quiet(registry.WithReferrersSupport(true)), false
	handler := registrykinds.Referrers(behind, func(w http.ResponseWriter, r *http.Request) {
		if !later {
			http.NotFound(w, r)
			return
		}
		behind.ServeHTTP(w, r)
	})
	image := pushImage(t, serve(t, handler)+"/acme/site")
	attach(t, image, proofType, "under the tag", "2024-03-19T12:00:00Z")
	later = true
	attach(t, image, attest.SBOMType, "sbom", "")
	for kind, want := range map[string]string{proofType: "under the tag", attest.SBOMType: "sbom"} {
		if got, err := attest.Attached(t.Context(), image, kind); string(got) != want || err != nil {
			t.Errorf("%s: got %q, %v", kind, got, err)
		}
	}
}

// A failure that may pass is none of the answers above.
func TestReferrersThatFail(t *testing.T) {
	unavailable := registrykinds.Referrers(quiet(), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	image := pushImage(t, serve(t, unavailable)+"/acme/site")
	soon := remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 1})
	if got, err := attest.Attached(t.Context(), image, proofType, soon); err == nil {
		t.Errorf("got %q of a registry that fails", got)
	}
}

func TestAttachAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, image name.Digest) {
		var side sync.WaitGroup
		for i := range 8 {
			side.Go(func() {
				kind := fmt.Sprintf("application/vnd.example.%d+json", i)
				if _, err := attest.Attach(t.Context(), image, []attest.Artifact{{Type: kind, Content: []byte("{}")}}); err != nil {
					t.Error(err)
				}
			})
		}
		side.Wait()
		if listed := referrers(t, image); len(listed) != 8 {
			t.Errorf("%d are listed, want 8", len(listed))
		}
	})
}

func TestSignAtOnce(t *testing.T) {
	image := pushImage(t, inMemory(t)+"/acme/site")
	var side sync.WaitGroup
	for range 4 {
		signer, _ := newKey(t)
		side.Go(func() {
			if err := signer.Sign(t.Context(), image, ""); err != nil {
				t.Error(err)
			}
		})
	}
	side.Wait()
	if _, list := signatures(t, image); len(list.Layers) != 4 {
		t.Errorf("%d signatures, want 4", len(list.Layers))
	}
}

// Where tags don't move, what is attached first is listed, and the rest where the API is.
func TestTagsThatDoNotMove(t *testing.T) {
	for registryName, refusal := range registrykinds.Refusals {
		for label, api := range map[string]bool{"with the referrers API": true, "without": false} {
			t.Run(registryName+" "+label, func(t *testing.T) {
				image := pushImage(t, serve(t, registrykinds.Immutable(quiet(registry.WithReferrersSupport(api)), refusal))+"/acme/site")
				first, _ := newKey(t)
				second, _ := newKey(t)
				attached(t, image, first)
				attachAgain := func(artifact attest.Artifact) error {
					_, err := attest.Attach(t.Context(), image, []attest.Artifact{artifact})
					return err
				}
				proof := attest.Artifact{Type: proofType, Content: []byte("proof")}
				var unlisted *attest.UnlistedError
				switch err := attachAgain(proof); {
				case api && err != nil:
					t.Error(err)
				case !api && (!errors.As(err, &unlisted) || unlisted.Tag != listTag(image) || len(unlisted.Types) != 1 || unlisted.Types[0] != proofType):
					t.Errorf("the list can't be written: %v", err)
				}
				if got, err := attest.Attached(t.Context(), image, proofType); err != nil || (string(got) == "proof") != api {
					t.Errorf("attached is %q, %v", got, err)
				}
				for range 2 {
					if err := first.Sign(t.Context(), image, ""); err != nil {
						t.Errorf("the first signature: %v", err)
					}
				}
				if err := first.Sign(t.Context(), image, "acme/other"); err != nil {
					t.Errorf("by another name: %v", err)
				}
				if err := second.Sign(t.Context(), image, ""); !errors.Is(err, attest.ErrTagRefused) || !strings.Contains(err.Error(), signatureTag(image).String()) {
					t.Errorf("the second signature: %v", err)
				}
				signature, err := second.Signature(image, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if err := attachAgain(signature); (err == nil) != api {
					t.Errorf("the second signature, as a bundle: %v", err)
				}
				if err := attest.Verify(t.Context(), image, publicKey(t, first)); err != nil {
					t.Error(err)
				}
				if err := attest.Verify(t.Context(), image, publicKey(t, second)); (err == nil) != api {
					t.Errorf("of the second key: %v", err)
				}
			})
		}
	}
}
