package e2e

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// machineCAs are the CAs that this machine trusts besides the public ones. The
// engine lends them to whatever runs on it.
func machineCAs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/usr/local/share/ca-certificates/*.crt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			all = append(all, string(pem.EncodeToMemory(block)))
		}
	}
	return all
}

// noTraces looks for texts in everything that a registry holds of an image and
// its stages.
func noTraces(t *testing.T, target registry.Target, texts []string) {
	t.Helper()
	noTracesIn(t, target, func(string) bool { return true }, texts)
}

// noTracesIn is noTraces for some tags.
func noTracesIn(t *testing.T, target registry.Target, among func(tag string) bool, texts []string) {
	t.Helper()
	repository, err := name.NewRepository(target.Repository())
	if err != nil {
		t.Fatal(err)
	}
	tags, err := remote.List(repository, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[v1.Hash]bool{}
	for _, tag := range tags {
		if !among(tag) {
			continue
		}
		one, err := remote.Image(repository.Tag(tag), remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		look := func(what string, read func() (io.ReadCloser, error)) {
			content, err := read()
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			found, err := search(t.Context(), content, texts)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range found {
				t.Errorf("%s: %q is in %s", tag, text, what)
			}
		}
		for what, raw := range map[string]func() ([]byte, error){"the manifest": one.RawManifest, "the configuration": one.RawConfigFile} {
			look(what, func() (io.ReadCloser, error) {
				text, err := raw()
				return io.NopCloser(bytes.NewReader(text)), err
			})
		}
		layers, err := one.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for i, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if !seen[digest] {
				seen[digest] = true
				look(fmt.Sprintf("layer %d", i+1), layer.Uncompressed)
			}
		}
	}
	t.Logf("looked through %d tags and %d layers", len(tags), len(seen))
}

// search returns those of the texts that are in a stream.
func search(ctx context.Context, r io.Reader, texts []string) ([]string, error) {
	const most = 1 << 10 // no text is longer
	found := map[string]bool{}
	window, kept := make([]byte, 1<<20), 0
	for ctx.Err() == nil {
		n, err := io.ReadFull(r, window[kept:])
		have := window[:kept+n]
		for _, text := range texts {
			if !found[text] && bytes.Contains(have, []byte(text)) {
				found[text] = true
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return slices.Sorted(maps.Keys(found)), nil
		}
		if err != nil {
			return nil, err
		}
		kept = copy(window, have[len(have)-most:])
	}
	return nil, ctx.Err()
}
