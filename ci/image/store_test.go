package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// store is a Store in memory. No engine can fetch from it.
type store struct {
	// has returns what is in it from the start.
	has     func(tag string) (v1.Image, error)
	keepErr error

	mutex sync.Mutex
	asked []string
	kept  map[string]v1.Image
}

func (s *store) Stage(_ context.Context, tag string) (v1.Image, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.asked = append(s.asked, tag)
	if image := s.kept[tag]; image != nil || s.has == nil {
		return image, nil
	}
	return s.has(tag)
}

func (s *store) Keep(_ context.Context, tag string, stage v1.Image) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.keepErr != nil {
		return s.keepErr
	}
	if s.kept == nil {
		s.kept = map[string]v1.Image{}
	}
	s.kept[tag] = stage
	return nil
}

func (s *store) Container(context.Context, *dagger.Client, v1.Image) (*dagger.Container, error) {
	return nil, errors.New("the engine is out of reach")
}

// stored makes a stage as a store has it: files by path, links with "-> " in
// front of their target, folders with a slash at the end, and texts that go
// along.
func stored(t *testing.T, files, texts map[string]string) v1.Image {
	t.Helper()
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var addenda []mutate.Addendum
	if files != nil {
		var archive bytes.Buffer
		to := tar.NewWriter(&archive)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			header := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, Uid: 7, Gid: 8, ModTime: time.Unix(99, 0), Size: int64(len(files[name]))}
			target, link := strings.CutPrefix(files[name], "-> ")
			switch {
			case link:
				header.Typeflag, header.Linkname, header.Size, header.Mode = tar.TypeSymlink, target, 0, 0o777
			case strings.HasSuffix(name, "/"):
				header.Typeflag = tar.TypeDir
			}
			if err := to.WriteHeader(&header); err != nil {
				t.Fatal(err)
			}
			if header.Size > 0 {
				if _, err := to.Write([]byte(files[name])); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			t.Fatal(err)
		}
		addenda = append(addenda, mutate.Addendum{Layer: layer, MediaType: types.OCILayer})
	}
	if texts != nil {
		text, err := json.Marshal(texts)
		if err != nil {
			t.Fatal(err)
		}
		addenda = append(addenda, mutate.Addendum{Layer: static.NewLayer(text, infoType), MediaType: infoType})
	}
	image, err := mutate.Append(image, addenda...)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digestOf(t *testing.T, image interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// The texts of a stage and its files come out as they went in, whichever of
// the two a stage has.
func TestInfoAndFileSystem(t *testing.T) {
	files, texts := map[string]string{"a": "file"}, map[string]string{"assets.json": `{"a": "b"}`, "assets-rtl.json": "ä\n"}
	for name, test := range map[string]struct{ files, texts map[string]string }{
		"both":       {files, texts},
		"files only": {files, nil},
		"texts only": {nil, texts},
		"neither":    {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			stage := stored(t, test.files, test.texts)
			got, err := info(stage)
			if err != nil || !maps.Equal(got, test.texts) {
				t.Errorf("texts %v, %v; want %v", got, err, test.texts)
			}
			layer, err := fileSystem(stage)
			if err != nil || (layer != nil) != (test.files != nil) {
				t.Fatalf("files %v, %v", layer, err)
			}
			if layer == nil {
				return
			}
			if kind, err := layer.MediaType(); err != nil || kind != types.OCILayer {
				t.Errorf("media type of the files %s, %v", kind, err)
			}
		})
	}
	broken, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer([]byte("no JSON"), infoType), MediaType: infoType})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := info(broken); message(err) != "read stage: invalid character 'o' in literal null (expecting 'u')" {
		t.Errorf("error %q", message(err))
	}
}

func TestFindOrBuildLooksIntoAllStores(t *testing.T) {
	one, other := stored(t, map[string]string{"a": "1"}, nil), stored(t, map[string]string{"a": "2"}, nil)
	has := func(image v1.Image) func(string) (v1.Image, error) {
		return func(string) (v1.Image, error) { return image, nil }
	}
	for name, test := range map[string]struct {
		first, second func(string) (v1.Image, error)
		keepErr       error
		want          v1.Image
		// asked is whether the second store was asked, copied whether the
		// first got what it has.
		asked, copied bool
		error         string
	}{
		"in the first":              {first: has(one), second: has(other), want: one},
		"in the second alone":       {second: has(other), want: other, asked: true, copied: true},
		"the first does not answer": {first: func(string) (v1.Image, error) { return nil, errors.New("EOF") }, second: has(other), error: "look for stage assets hrms: EOF"},
		"the second does not answer": {
			second: func(string) (v1.Image, error) { return nil, errors.New("EOF") }, asked: true, error: "look for stage assets hrms: EOF",
		},
		"the first takes nothing": {second: has(other), keepErr: errors.New("403"), asked: true, error: "store stage assets hrms: 403"},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := &store{has: test.first, keepErr: test.keepErr}, &store{has: test.second}
			var events []progress.Event
			b := &Builder{Stores: []Store{first, second}, lasting: t.Context(), Observe: func(e progress.Event) { events = append(events, e) }}
			s := &stage{name: "assets", of: "hrms", key: "k", needs: []*stage{{name: "tools"}}}
			kept, err := b.keep(t.Context(), s)
			if message(err) != test.error {
				t.Fatalf("error %q, want %q", message(err), test.error)
			}
			if got := len(second.asked) > 0; got != test.asked {
				t.Errorf("the second store was asked: %v", got)
			}
			if err != nil {
				return
			}
			if kept != test.want {
				t.Error("gives another image")
			}
			if got := first.kept["stage.assets.hrms.k"] == test.want; got != test.copied {
				t.Errorf("the first store got it: %v", got)
			}
			if len(second.kept) > 0 {
				t.Errorf("the second store was written to: %v", second.kept)
			}
			if len(events) != 2 || events[0].Kind != progress.Began || events[1].Kind != progress.Ended || !events[1].Cached ||
				events[0].Stage != "assets hrms" || !slices.Equal(events[0].Needs, []string{"tools"}) {
				t.Errorf("told %+v", events)
			}
			// Asked once, however many want it.
			if _, err := b.keep(t.Context(), s); err != nil || len(first.asked) != 1 {
				t.Errorf("asked %q, %v", first.asked, err)
			}
		})
	}
}

// What is built anew is not looked for, and everything else is.
func TestNoCacheSkipsTheLookup(t *testing.T) {
	stages := []stage{{name: "tools"}, {name: "app", of: "frappe"}, {name: "app", of: "hrms"}, {name: "assets", of: "hrms"}, {name: "app", of: "hrms_own"}}
	for noCache, want := range map[string][]string{
		"":         {"stage.tools.", "stage.app.frappe.", "stage.app.hrms.", "stage.assets.hrms.", "stage.app.hrms_own."},
		"hrms":     {"stage.tools.", "stage.app.frappe.", "stage.app.hrms_own."},
		NoCacheAll: nil,
	} {
		found := stored(t, nil, nil)
		first := &store{has: func(string) (v1.Image, error) { return found, nil }}
		b := &Builder{Stores: []Store{first}, NoCache: noCache, lasting: t.Context()}
		for i := range stages {
			s := &stage{name: stages[i].name, of: stages[i].of}
			if err := b.has(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(first.asked, want) {
			t.Errorf("with %q were looked for %q, want %q", noCache, first.asked, want)
		}
	}
}

// A stage that is there is of no use to an engine that can't fetch it.
func TestFetchErrorNamesTheStage(t *testing.T) {
	found := stored(t, nil, nil)
	b := &Builder{Stores: []Store{&store{has: func(string) (v1.Image, error) { return found, nil }}}, lasting: t.Context()}
	tools := &stage{name: "tools", platform: "linux/arm64"}
	s := &stage{name: "modules", of: "hrms", needs: []*stage{tools}}
	if _, err := b.inputs(t.Context(), s); message(err) != "fetch stage tools linux/arm64: the engine is out of reach" {
		t.Errorf("error %q", message(err))
	}
}

// A store that lets no tag be written has the stages all the same. What later builds
// don't take from there is a warning.
func TestTagsThatCannotBeWritten(t *testing.T) {
	taken := &HeldError{Tag: "stage.x", Other: true, Err: errors.New("412")}
	ruled := &HeldError{Tag: "stage.x", Err: errors.New("403")}
	for name, test := range map[string]struct {
		noCache string
		keepErr error
		held    string
		fails   string
	}{
		"another builder was quicker": {keepErr: taken},
		"the name is against a rule":  {keepErr: ruled, held: "stages: the registry does not let stage.x and 18 more be written: 403"},
		"a failure":                   {keepErr: errors.New("EOF"), fails: "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			b := exampleBuilder(t)
			b.Stores = []Store{&store{keepErr: test.keepErr}, full(t)}
			built, err := b.Build(t.Context(), exampleLock())
			if test.fails != "" {
				if err == nil || !strings.HasSuffix(err.Error(), test.fails) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var p problem.Problem
			if message(built.Held) != test.held || test.held != "" && (!errors.As(built.Held, &p) || p.Code != "registry.stage-tags" || p.Remedy == "") {
				t.Errorf("warned of %v, want %q", built.Held, test.held)
			}
			if err := b.heldTags(); err != nil {
				t.Errorf("warned of twice: %v", err)
			}
		})
	}
	// What was built anew is not what the tag names.
	b := &Builder{NoCache: "hrms"}
	for _, of := range []string{"hrms", "frappe"} {
		err := b.passOver(&stage{name: "assets", of: of}, taken)
		if held := b.heldTags(); err != nil || (held != nil) != (of == "hrms") {
			t.Errorf("%s: %v, warned of %v", of, err, held)
		}
	}
}
