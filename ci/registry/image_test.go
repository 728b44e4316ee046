package registry

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry/answer"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// target returns an empty registry.
func target(t *testing.T) Target {
	t.Helper()
	e, err := Serve(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return Target{Host: e.Address(), Name: "acme/site"}
}

// layerOf returns a layer with one file.
func layerOf(t *testing.T, path, text string) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	to := tar.NewWriter(&archive)
	err := to.WriteHeader(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o644, Size: int64(len(text))})
	if _, wrote := to.Write([]byte(text)); err != nil || wrote != nil {
		t.Fatal(err, wrote)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// built returns an image of these layers, with a label if there is one.
func built(t *testing.T, label string, layers ...v1.Layer) *image.Image {
	t.Helper()
	single := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var addenda []mutate.Addendum
	for _, layer := range layers {
		addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: types.OCILayer})
	}
	single, err := mutate.Append(single, addenda...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := single.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if label != "" {
		config.Config.Labels = map[string]string{image.ManifestLabel: label}
	}
	if single, err = mutate.ConfigFile(single, config); err != nil {
		t.Fatal(err)
	}
	digest, err := single.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return &image.Image{Single: single, Digest: digest}
}

// pushed pushes an image under a version.
func pushed(t *testing.T, to Target, version string, of *image.Image) {
	t.Helper()
	if _, err := Push(t.Context(), of, to); err != nil {
		t.Fatal(err)
	}
	if _, err := Tag(t.Context(), to, version, of.Digest.String()); err != nil {
		t.Fatal(err)
	}
}

func tags(t *testing.T, of Target) []string {
	t.Helper()
	repository, err := name.NewRepository(of.Repository())
	if err != nil {
		t.Fatal(err)
	}
	found, err := remote.List(repository, of.Options(t.Context())...)
	// A registry may not know a repository without any.
	if answer.Missing(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestPushHasNoTag(t *testing.T) {
	to := target(t)
	one, two := built(t, "", layerOf(t, "one", "1")), built(t, "", layerOf(t, "two", "2"))
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: one.Single}, mutate.IndexAddendum{Add: two.Single})
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for label, test := range map[string]*image.Image{"an image": one, "an index": {Index: index, Digest: digest}} {
		t.Run(label, func(t *testing.T) {
			reference, err := Push(t.Context(), test, to)
			if err != nil {
				t.Fatal(err)
			}
			if want := to.Repository() + "@" + test.Digest.String(); reference.String() != want {
				t.Errorf("pushed %s, want %s", reference, want)
			}
			descriptor, err := remote.Get(reference, to.Options(t.Context())...)
			if err != nil || descriptor.Digest != test.Digest {
				t.Errorf("the registry has %v, %v", descriptor, err)
			}
			if found := tags(t, to); len(found) != 0 {
				t.Errorf("tags %q", found)
			}
		})
	}
}

func TestTagNeverMoves(t *testing.T) {
	to := target(t)
	to.PulledAs = "acme/site"
	first, second := built(t, "", layerOf(t, "one", "1")), built(t, "", layerOf(t, "two", "2"))
	for _, one := range []*image.Image{first, second} {
		if _, err := Push(t.Context(), one, to); err != nil {
			t.Fatal(err)
		}
	}
	want := release.Image{Repository: "acme/site", Tag: "1.0.0", Digest: first.Digest.String()}
	for _, when := range []string{"free", "its own already"} {
		got, err := Tag(t.Context(), to, "1.0.0", first.Digest.String())
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", when, got, err, want)
		}
	}
	_, err := Tag(t.Context(), to, "1.0.0", second.Digest.String())
	var report *problem.Error
	if !errors.As(err, &report) || report.Report[0].Code != CodeTaken {
		t.Fatalf("another digest: %v", err)
	}
	if text := "DE_SITE_VERSION 1.0.0: is released already: " + to.Repository() + ":1.0.0 is " + first.Digest.String(); err.Error() != text {
		t.Errorf("got %q, want %q", err, text)
	}
	if digest, err := Released(t.Context(), to, "1.0.0"); err != nil || digest != first.Digest.String() {
		t.Errorf("1.0.0 is %s, %v; want what it was", digest, err)
	}
	absent := "sha256:" + strings.Repeat("0", 64)
	if _, err := Tag(t.Context(), to, "1.0.1", absent); err == nil || !strings.Contains(err.Error(), "read back "+to.Repository()+"@"+absent) {
		t.Errorf("tag of what was never pushed: %v", err)
	}
}

func TestStages(t *testing.T) {
	to := target(t)
	s := &Stages{Target: to}
	const tag = "stage.assets.hrms.0123456789abcdef0123456789abcdef"
	if found, err := s.Stage(t.Context(), tag); found != nil || err != nil {
		t.Errorf("an empty registry has %v, %v", found, err)
	}
	stage := built(t, "", layerOf(t, "one", "1"))
	if err := s.Keep(t.Context(), tag, stage.Single); err != nil {
		t.Fatal(err)
	}
	found, err := s.Stage(t.Context(), tag)
	if err != nil || found == nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if digest, err := found.Digest(); err != nil || digest != stage.Digest {
		t.Errorf("found %s, %v; want %s", digest, err, stage.Digest)
	}
	if found, err := s.Stage(t.Context(), tag+"0"); found != nil || err != nil {
		t.Errorf("another key has %v, %v", found, err)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	s = &Stages{Target: Target{Host: strings.TrimPrefix(closed.URL, "http://"), Name: "acme/site"}}
	if found, err := s.Stage(t.Context(), tag); found != nil || err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a registry that is not there has %v, %v", found, err)
	}
}

func TestBefore(t *testing.T) {
	to := target(t)
	if got, err := Before(t.Context(), to, "1.0.0"); got != "" || err != nil {
		t.Errorf("in an empty registry: %q, %v", got, err)
	}
	one := built(t, "", layerOf(t, "one", "1"))
	if _, err := Push(t.Context(), one, to); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.2.0", "1.9.0", "1.10.0", "2.0.0", "2.0.0-rc.1", "v1.11.0", "1.12", "latest", "stage.app.frappe.00ff", "sha256-" + strings.Repeat("ab", 32) + ".sig"} {
		if _, err := Tag(t.Context(), to, tag, one.Digest.String()); err != nil {
			t.Fatal(err)
		}
	}
	for label, test := range map[string]struct{ version, want string }{
		"numbers, not letters":             {"1.11.0", "1.10.0"},
		"not itself":                       {"1.10.0", "1.9.0"},
		"a candidate comes before":         {"2.0.0", "2.0.0-rc.1"},
		"the newest":                       {"3.0.0", "2.0.0"},
		"older than all":                   {"1.0.0", ""},
		"a version that has no order":      {"spring", ""},
		"tags with less or more than that": {"1.13.0", "1.10.0"},
	} {
		t.Run(label, func(t *testing.T) {
			if got, err := Before(t.Context(), to, test.version); got != test.want || err != nil {
				t.Errorf("before %s is %q, %v; want %q", test.version, got, err, test.want)
			}
		})
	}
}

func TestLockOf(t *testing.T) {
	to := target(t)
	manifest := release.Manifest{
		SiteVersion: "1.0.0", Python: "3.11.6", Node: "18.18.2",
		Apps:  []release.App{{Name: "frappe", URL: "https://github.com/frappe/frappe", Ref: "v15.1.0", Commit: strings.Repeat("a", 40)}},
		Bases: map[string]string{"python:3.11.6-slim-bookworm": "sha256:aa"},
	}
	label, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	const requirements = "click==8.1.7 \\\n    --hash=sha256:aa01\n"
	pushed(t, to, "1.0.0", built(t, string(label), layerOf(t, "etc/motd", "hello"), layerOf(t, image.LockPath, requirements)))
	pushed(t, to, "1.0.1", built(t, string(label), layerOf(t, image.LockPath, requirements), layerOf(t, "etc/motd", "hello")))
	pushed(t, to, "1.0.2", built(t, "", layerOf(t, image.LockPath, requirements)))
	pushed(t, to, "1.0.3", built(t, `{"apps": []}`, layerOf(t, image.LockPath, requirements)))

	got, err := LockOf(t.Context(), to, "1.0.0")
	want := release.Lock{SiteVersion: "1.0.0", Python: "3.11.6", Node: "18.18.2", Apps: manifest.Apps, Bases: manifest.Bases, Requirements: requirements}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	foreign := "was not built by this pipeline: it has no label " + image.ManifestLabel
	for version, want := range map[string]struct{ text, code string }{
		"1.0.1": {"read " + to.Repository() + ":1.0.1: it has no " + image.LockPath, ""},
		"1.0.2": {to.Repository() + ":1.0.2: " + foreign, "registry.foreign-image"},
		"1.0.3": {to.Repository() + ":1.0.3: " + foreign, "registry.foreign-image"},
		"1.0.4": {"version 1.0.4: there is no " + to.Repository() + ":1.0.4", "registry.version-missing"},
	} {
		t.Run(version, func(t *testing.T) {
			_, err := LockOf(t.Context(), to, version)
			if err == nil || err.Error() != want.text {
				t.Errorf("got %v, want %s", err, want.text)
			}
			var report *problem.Error
			if want.code != "" && (!errors.As(err, &report) || report.Report[0].Code != want.code || report.Report[0].Remedy == "") {
				t.Errorf("got %#v, want %s with its remedy", err, want.code)
			}
		})
	}
}

func TestWriteArchive(t *testing.T) {
	one := built(t, "", layerOf(t, "one", "1"), layerOf(t, "two", "2"))
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: one.Single})
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for label, test := range map[string]*image.Image{"an image": one, "an index": {Index: index, Digest: digest}} {
		t.Run(label, func(t *testing.T) {
			dir := t.TempDir()
			var texts [2][]byte
			for i, file := range []string{"one.tar", "two.tar"} {
				if err := WriteArchive(filepath.Join(dir, file), test, "1.0.0"); err != nil {
					t.Fatal(err)
				}
				if texts[i], err = os.ReadFile(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(texts[0], texts[1]) {
				t.Error("the same image gives two archives")
			}
			if left := files(t, dir); !reflect.DeepEqual(left, []string{"one.tar", "two.tar"}) {
				t.Errorf("files %q", left)
			}
			opened, err := layout.ImageIndexFromPath(unpacked(t, texts[0]))
			if err != nil {
				t.Fatal(err)
			}
			if test.Single != nil {
				inside, err := opened.Image(test.Digest)
				if err == nil {
					err = whole(inside)
				}
				if err != nil {
					t.Error(err)
				}
			}
			manifest, err := opened.IndexManifest()
			if err != nil || len(manifest.Manifests) != 1 {
				t.Fatalf("index has %+v, %v", manifest, err)
			}
			got := manifest.Manifests[0]
			if got.Digest != test.Digest || got.Annotations["org.opencontainers.image.ref.name"] != "1.0.0" {
				t.Errorf("it has %s named %q, want %s", got.Digest, got.Annotations, test.Digest)
			}
		})
	}
}

// whole reads all that an image has, and holds it against its names.
func whole(of v1.Image) error {
	layers, err := of.Layers()
	if err != nil {
		return err
	}
	config, err := of.ConfigFile()
	if err != nil {
		return err
	}
	if len(layers) == 0 || len(layers) != len(config.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, %d in the configuration", len(layers), len(config.RootFS.DiffIDs))
	}
	for i, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			return err
		}
		got, _, err := v1.SHA256(content)
		if err := errors.Join(err, content.Close()); err != nil {
			return err
		}
		if want := config.RootFS.DiffIDs[i]; got != want {
			return fmt.Errorf("layer %d is %s, want %s", i, got, want)
		}
	}
	return nil
}

// unpacked returns a folder with the files of an archive.
func unpacked(t *testing.T, text []byte) string {
	t.Helper()
	dir := t.TempDir()
	for archive := tar.NewReader(bytes.NewReader(text)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, header.Name)
		content, err := io.ReadAll(archive)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// broken is an image whose layers can't be read.
type broken struct{ v1.Image }

func (broken) Layers() ([]v1.Layer, error) { return nil, errors.New("the layers are gone") }

func TestWriteArchiveLeavesNothingBehind(t *testing.T) {
	one := built(t, "", layerOf(t, "one", "1"))
	for label, test := range map[string]struct {
		prepare func(path string) error
		of      *image.Image
		want    string
		left    []string
	}{
		"the image can't be read":    {func(string) error { return nil }, &image.Image{Single: broken{one.Single}}, "the layers are gone", []string{}},
		"the file is a folder":       {func(path string) error { return os.MkdirAll(filepath.Join(path, "x"), 0o755) }, one, "write image to ", []string{"image.tar"}},
		"the part can't be written":  {func(path string) error { return os.MkdirAll(filepath.Join(path+".part", "x"), 0o755) }, one, "is a directory", []string{"image.tar.part"}},
		"one that was there remains": {func(path string) error { return os.WriteFile(path, []byte("old"), 0o644) }, &image.Image{Single: broken{one.Single}}, "the layers are gone", []string{"image.tar"}},
	} {
		t.Run(label, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "image.tar")
			if err := test.prepare(path); err != nil {
				t.Fatal(err)
			}
			if err := WriteArchive(path, test.of, "1.0.0"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			if left := files(t, dir); !reflect.DeepEqual(left, test.left) {
				t.Errorf("left behind %q, want %q", left, test.left)
			}
		})
	}
}

func TestWriteDocker(t *testing.T) {
	one := built(t, "", layerOf(t, "one", "1"))
	path := filepath.Join(t.TempDir(), "docker.tar")
	if err := WriteDocker(path, one, "acme/site", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || !reflect.DeepEqual(manifest[0].RepoTags, []string{"acme/site:1.0.0"}) {
		t.Errorf("it names %+v", manifest)
	}
	err = WriteDocker(path, &image.Image{Index: empty.Index}, "acme/site", "1.0.0")
	if err == nil || err.Error() != "an image for several platforms can't be loaded into Docker: choose one with --platform" {
		t.Errorf("several platforms: %v", err)
	}
}

// limited is a registry in front of another that answers the first requests
// that a test chooses with a status of its own.
func limited(t *testing.T, behind Target, status int, first int32, which func(*http.Request) bool) (Target, *atomic.Int32) {
	t.Helper()
	at, err := url.Parse("http://" + behind.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ErrorLog = nil
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if which(r) && seen.Add(1) <= first {
			w.WriteHeader(status)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return Target{Host: strings.TrimPrefix(server.URL, "http://"), Name: behind.Name}, &seen
}

// impatient waits a moment where the program waits for seconds.
func impatient(t *testing.T) {
	t.Helper()
	before := backoff
	backoff.Duration = time.Millisecond
	t.Cleanup(func() { backoff = before })
}

func TestLimitsPass(t *testing.T) {
	impatient(t)
	to := target(t)
	one := built(t, "", layerOf(t, "one", "1"))
	pushed(t, to, "1.0.0", one)
	reading := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	writing := func(r *http.Request) bool { return r.Method == http.MethodPut && reading(r) }
	for label, test := range map[string]struct {
		status int
		which  func(*http.Request) bool
		do     func(Target) error
	}{
		"too many requests while reading": {http.StatusTooManyRequests, reading, func(t2 Target) error {
			digest, err := Released(t.Context(), t2, "1.0.0")
			if err == nil && digest != one.Digest.String() {
				err = errors.New("got " + digest)
			}
			return err
		}},
		"too many requests while pushing": {http.StatusTooManyRequests, writing, func(t2 Target) error {
			_, err := Push(t.Context(), built(t, "", layerOf(t, "new", "too many")), t2)
			return err
		}},
		"a bad gateway while a stage is stored": {http.StatusBadGateway, writing, func(t2 Target) error {
			return (&Stages{Target: t2}).Keep(t.Context(), "stage.x", built(t, "", layerOf(t, "new", "gateway")).Single)
		}},
	} {
		t.Run(label, func(t *testing.T) {
			front, seen := limited(t, to, test.status, 2, test.which)
			if err := test.do(front); err != nil {
				t.Error(err)
			}
			if seen.Load() < 3 {
				t.Errorf("asked %d times, want a third time", seen.Load())
			}
		})
	}
	front, _ := limited(t, to, http.StatusTooManyRequests, 1000, reading)
	if _, err := Released(t.Context(), front, "1.0.0"); err == nil || !strings.Contains(err.Error(), "look up "+front.Repository()+":1.0.0") || !strings.Contains(err.Error(), "429") {
		t.Errorf("a limit that does not pass: %v", err)
	}
}

// What several stages need is asked for by all of them at once.
func TestArchivedAtOnce(t *testing.T) {
	s := &Stages{Scratch: t.TempDir()}
	layer, err := random.Layer(1<<20, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	stage := built(t, "", layer)
	var side sync.WaitGroup
	for range 8 {
		side.Go(func() {
			path, err := s.archived(stage.Single, stage.Digest)
			if err != nil {
				t.Error(err)
				return
			}
			read, err := tarball.ImageFromPath(path, nil)
			if err == nil {
				err = whole(read)
			}
			if err != nil {
				t.Errorf("the file is not whole: %v", err)
			}
		})
	}
	side.Wait()
	if left := files(t, s.Scratch); !reflect.DeepEqual(left, []string{stage.Digest.Hex + ".tar"}) {
		t.Errorf("files %q", left)
	}
	if _, err := s.archived(broken{stage.Single}, v1.Hash{Algorithm: "sha256", Hex: "00"}); err == nil || !strings.Contains(err.Error(), "the layers are gone") {
		t.Errorf("one that can't be read: %v", err)
	}
	if left := files(t, s.Scratch); !reflect.DeepEqual(left, []string{stage.Digest.Hex + ".tar"}) {
		t.Errorf("left behind %q", left)
	}
}

// An engine on this machine pulls from the registry in this process; one that
// can't is handed the same files.
func TestContainer(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an engine")
	}
	client, _ := enginetest.Session(t)
	s := &Stages{Target: target(t), Scratch: t.TempDir()}
	// The engine asks no registry for what it has seen before.
	two := rand.Text()
	stage := built(t, "", layerOf(t, "home/one", "1"), layerOf(t, "home/two", two))
	if err := s.Keep(t.Context(), "stage.x", stage.Single); err != nil {
		t.Fatal(err)
	}
	found, err := s.Stage(t.Context(), "stage.x")
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := s.Container(t.Context(), client, found)
	if err != nil {
		t.Fatal(err)
	}
	if s.apart {
		t.Error("the engine does not reach the registry, so nothing was pulled")
	}
	handed, err := s.handOver(t.Context(), client, found, stage.Digest, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	for label, c := range map[string]*dagger.Container{"pulled": pulled, "handed over": handed} {
		names, err := c.Rootfs().Glob(t.Context(), "**")
		if err != nil || !reflect.DeepEqual(names, []string{"home/", "home/one", "home/two"}) {
			t.Errorf("%s: it has %q, %v", label, names, err)
		}
		for path, want := range map[string]string{"/home/one": "1", "/home/two": two} {
			if got, err := c.File(path).Contents(t.Context()); err != nil || got != want {
				t.Errorf("%s: %s has %q, %v; want %q", label, path, got, err, want)
			}
		}
	}
	// No server listens where this registry says that it is.
	far := &Stages{Target: Target{Host: "127.0.0.1:1", Name: "acme/site"}, Scratch: t.TempDir()}
	three := rand.Text()
	c, err := far.Container(t.Context(), client, built(t, "", layerOf(t, "home/three", three)).Single)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.File("/home/three").Contents(t.Context()); err != nil || got != three {
		t.Errorf("out of reach: /home/three has %q, %v; want %q", got, err, three)
	}
	if !far.apart {
		t.Error("the next stage is looked for in vain again")
	}
}
