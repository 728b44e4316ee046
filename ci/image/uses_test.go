package image

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"dagger.io/dagger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Of a build that finds all that the image is made from, those stages are in use too
// that it would need if one was not there.
func TestUses(t *testing.T) {
	b := exampleBuilder(t)
	first := full(t)
	b.Stores = []Store{first}
	var used []string
	b.Uses = func(tags []string) { used = append(used, tags...) }
	b.resolved = &stage{name: "packages", key: "k"}
	if _, err := b.Build(t.Context(), exampleLock()); err != nil {
		t.Fatal(err)
	}
	for _, tag := range first.asked {
		if !slices.Contains(used, tag) {
			t.Errorf("%s was read, and is not in use", tag)
		}
	}
	for _, name := range []string{"packer.", "tools.", "compilers.", "modules.hrms.", "modules.frappe.", "packages.k"} {
		if !slices.ContainsFunc(used, func(tag string) bool { return strings.HasPrefix(tag, "stage."+name) }) {
			t.Errorf("stage %s is not in use", name)
		}
	}
	if slices.ContainsFunc(used, func(tag string) bool { return strings.HasPrefix(tag, "stage.fetch.") }) {
		t.Error("a stage that is in no store is in use")
	}
	if sorted := slices.Compact(slices.Sorted(slices.Values(used))); !slices.Equal(used, sorted) {
		t.Errorf("in use are %q", used)
	}

	used = nil
	first.has = nil
	site := Folder{Name: "site", Of: []string{"a"}}
	if found, err := b.Find(t.Context(), site); found != nil || err != nil || !slices.Equal(used, []string{"stage.site." + keyOf("site", site.Of)}) {
		t.Errorf("found %v, %v; in use are %q", found, err, used)
	}
}

// Between being found and being fetched a stage may be removed.
func TestBuildsAgainWhatIsGone(t *testing.T) {
	for name, test := range map[string]struct {
		gone  bool
		error string
	}{
		"gone":                    {gone: true},
		"there, but out of reach": {error: "fetch stage tools: the engine is out of reach"},
	} {
		t.Run(name, func(t *testing.T) {
			found, asked := stored(t, nil, nil), 0
			var mutex sync.Mutex
			b := &Builder{lasting: t.Context(), Stores: []Store{&store{has: func(string) (v1.Image, error) {
				mutex.Lock()
				defer mutex.Unlock()
				if asked++; asked > 1 && test.gone {
					return nil, nil
				}
				return found, nil
			}}}}
			builds, made := 0, &dagger.Container{}
			tools := &stage{name: "tools", build: func(*stage, inputs) *dagger.Container { builds++; return made }}
			var side sync.WaitGroup
			for range 4 {
				side.Go(func() {
					in, err := b.inputs(t.Context(), &stage{name: "modules", needs: []*stage{tools}})
					if message(err) != test.error || (in[tools] == made) != test.gone {
						t.Errorf("got %p, %q", in[tools], message(err))
					}
				})
			}
			side.Wait()
			if test.gone && builds != 1 || !test.gone && builds != 0 {
				t.Errorf("built %d times", builds)
			}
			// The image has the layer that was found.
			if kept, err := b.keep(t.Context(), tools); kept != found || err != nil {
				t.Errorf("kept %v, %v", kept, err)
			}
		})
	}
}

// A registry that does not answer is no proof that a stage is gone.
func TestGoneNeedsAnAnswer(t *testing.T) {
	b := &Builder{lasting: t.Context()}
	s := &stage{name: "tools", build: func(*stage, inputs) *dagger.Container { return nil }}
	s.run.store = &store{has: func(string) (v1.Image, error) { return nil, errors.New("502") }}
	if b.gone(s) {
		t.Error("it is taken for gone")
	}
}
