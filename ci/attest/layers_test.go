package attest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
)

// files are those of a layer by their path: with "-> " in front a link to what
// follows, with "=> " a hard link, and with a slash at the end of the path a
// folder.
type files map[string]string

// layerOf makes a layer, compressed as those of images are.
func layerOf(t *testing.T, of files) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	to := tar.NewWriter(&archive)
	// A hard link comes after what it is one to.
	names := slices.Sorted(maps.Keys(of))
	slices.SortStableFunc(names, func(a, b string) int {
		return len(strings.TrimPrefix(of[b], "=> ")) - len(of[b]) - len(strings.TrimPrefix(of[a], "=> ")) + len(of[a])
	})
	for _, name := range names {
		header, text := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, of[name]
		switch kind, target, _ := strings.Cut(text, "> "); {
		case kind == "-":
			header.Typeflag, header.Linkname, text = tar.TypeSymlink, target, ""
		case kind == "=":
			header.Typeflag, header.Linkname, text = tar.TypeLink, target, ""
		case strings.HasSuffix(name, "/"):
			header.Typeflag = tar.TypeDir
		}
		header.Size = int64(len(text))
		if err := to.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(to, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// imageOf makes an image for a platform, its lowest layer first.
func imageOf(t *testing.T, platform string, layers ...v1.Layer) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, _ = strings.Cut(platform, "/")
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// kept is a cache in memory.
type kept map[string][]byte

func (k kept) Find(_ context.Context, name string) ([]byte, error) { return k[name], nil }
func (k kept) Keep(_ context.Context, name string, record []byte)  { k[name] = record }

// read returns what is in images.
func read(t *testing.T, cache attest.Cache, images ...v1.Image) []attest.Held {
	t.Helper()
	held, err := attest.Read(t.Context(), images, cache)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// readFiles returns what is in an image of layers with these files.
func readFiles(t *testing.T, layers ...files) []attest.Held {
	t.Helper()
	made := make([]v1.Layer, len(layers))
	for i, of := range layers {
		made[i] = layerOf(t, of)
	}
	return read(t, kept{}, imageOf(t, "linux/amd64", made...))
}
