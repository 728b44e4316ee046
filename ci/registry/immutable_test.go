package registry

import (
	"errors"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/registrykinds"
)

// immutable returns an empty registry that sets a tag once.
func immutable(t *testing.T, refusal registrykinds.Refusal) Target {
	t.Helper()
	behind := target(t)
	server := httptest.NewServer(registrykinds.Immutable(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind.Host}), refusal))
	t.Cleanup(server.Close)
	return Target{Host: strings.TrimPrefix(server.URL, "http://"), Name: behind.Name}
}

// everyRefusal runs a test against a registry of each kind that moves no tags.
func everyRefusal(t *testing.T, test func(*testing.T, Target)) {
	t.Helper()
	for name, refusal := range registrykinds.Refusals {
		t.Run(name, func(t *testing.T) { test(t, immutable(t, refusal)) })
	}
}

func TestImmutableVersion(t *testing.T) {
	everyRefusal(t, func(t *testing.T, to Target) {
		first, second := built(t, "", layerOf(t, "one", "1")), built(t, "", layerOf(t, "two", "2"))
		for range 2 {
			pushed(t, to, "1.0.0", first)
		}
		if _, err := Push(t.Context(), second, to); err != nil {
			t.Fatal(err)
		}
		var report *problem.Error
		if _, err := Tag(t.Context(), to, "1.0.0", second.Digest.String()); !errors.As(err, &report) || report.Report[0].Code != CodeTaken {
			t.Errorf("another digest: %v", err)
		}
		// Releases of the same image, and of two, at once: one of them has the version.
		for version, digests := range map[string][]v1.Hash{"1.0.1": {first.Digest, first.Digest}, "1.0.2": {first.Digest, second.Digest}} {
			var side sync.WaitGroup
			errs := make([]error, len(digests))
			for i, digest := range digests {
				side.Go(func() { _, errs[i] = Tag(t.Context(), to, version, digest.String()) })
			}
			side.Wait()
			named, err := Released(t.Context(), to, version)
			if err != nil {
				t.Fatal(err)
			}
			for i, err := range errs {
				if digests[i].String() == named && err != nil {
					t.Errorf("%s: the one that has it: %v", version, err)
				}
				if digests[i].String() != named && (!errors.As(err, &report) || report.Report[0].Code != CodeTaken) {
					t.Errorf("%s: the one that has it not: %v", version, err)
				}
			}
		}
	})
}

func TestImmutableStages(t *testing.T) {
	everyRefusal(t, func(t *testing.T, to Target) {
		s := &Stages{Target: to}
		const tag = "stage.base.0123456789abcdef0123456789abcdef"
		first, second := built(t, "", layerOf(t, "one", "1")), built(t, "", layerOf(t, "two", "2"))
		for range 2 {
			if err := s.Keep(t.Context(), tag, first.Single); err != nil {
				t.Fatal(err)
			}
		}
		var held *image.HeldError
		if err := s.Keep(t.Context(), tag, second.Single); !errors.As(err, &held) || held.Tag != tag || !held.Other {
			t.Errorf("another stage under the same tag: %v", err)
		}
		// It is there all the same, whole.
		reference, err := to.tag(tag)
		if err != nil {
			t.Fatal(err)
		}
		there, err := remote.Image(reference.Context().Digest(second.Digest.String()))
		if err == nil {
			err = whole(there)
		}
		if err != nil {
			t.Errorf("the other stage: %v", err)
		}
		if found, err := s.Stage(t.Context(), tag); err != nil || found == nil {
			t.Errorf("found %v, %v", found, err)
		} else if digest, err := found.Digest(); err != nil || digest != first.Digest {
			t.Errorf("the tag names %s, %v", digest, err)
		}
		var side sync.WaitGroup
		for _, stage := range []*image.Image{first, first, second} {
			side.Go(func() {
				var held *image.HeldError
				if err := s.Keep(t.Context(), tag+"0", stage.Single); err != nil && (!errors.As(err, &held) || !held.Other) {
					t.Errorf("at once: %v", err)
				}
			})
		}
		side.Wait()
	})
}
