package registry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func date(text string) time.Time {
	at, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return at
}

func TestInUse(t *testing.T) {
	released := map[string]bool{"1.0.0": true, "1.1.0": true, "1.2.0": true}
	for label, test := range map[string]struct {
		// notes are a day and a version each; those in use are named by their place.
		notes []note
		want  []int
	}{
		"none":                  {},
		"of the first day":      {[]note{{day: date("2026-10-01")}}, []int{0}},
		"of the day before":     {[]note{{day: date("2026-09-30")}}, nil},
		"the last build is old": {[]note{{Version: "2.0.0-rc.1", day: date("2026-01-02")}, {Version: "2.0.0-rc.1", day: date("2026-01-01")}}, []int{0}},
		"two of the last day":   {[]note{{Version: "2.0.0", day: date("2026-01-02")}, {Version: "2.0.1", day: date("2026-01-02")}}, []int{0, 1}},
		"what was only seen is no build": {
			[]note{{day: date("2026-01-03")}, {Version: "2.0.0", day: date("2026-01-02")}}, []int{1},
		},
		"a live version that is older than a build without an image": {
			[]note{{Version: "2.0.0", day: date("2026-03-01")}, {Version: "1.0.0", day: date("2026-02-01")}, {Version: "1.0.0", day: date("2026-01-01")}}, []int{0, 1},
		},
		"versions beyond those that can be gone back to": {
			[]note{{Version: "1.2.0", day: date("2026-03-01")}, {Version: "1.1.0", day: date("2026-02-01")}, {Version: "1.0.0", day: date("2026-01-01")}}, []int{0, 1},
		},
		"an old version that was rebuilt lately": {
			[]note{{Version: "1.0.0", day: date("2026-11-01")}, {Version: "1.2.0", day: date("2026-03-01")}, {Version: "1.1.0", day: date("2026-02-01")}}, []int{0, 1},
		},
	} {
		t.Run(label, func(t *testing.T) {
			var want, got []note
			for _, i := range test.want {
				want = append(want, test.notes[i])
			}
			// The order in which a registry lists them means nothing.
			notes := slices.Clone(test.notes)
			slices.Reverse(notes)
			got = inUse(notes, date("2026-10-01").Add(13*time.Hour), 2, released)
			slices.SortFunc(want, func(a, b note) int { return strings.Compare(a.Version, b.Version) })
			slices.SortFunc(got, func(a, b note) int { return strings.Compare(a.Version, b.Version) })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("in use are %v, want %v", got, want)
			}
		})
	}
}

// stage stores a stage with one file, and returns its tag.
func stage(t *testing.T, to Target, tag, text string) string {
	t.Helper()
	if err := (&Stages{Target: to}).Keep(t.Context(), tag, built(t, "", layerOf(t, "file", text)).Single); err != nil {
		t.Fatal(err)
	}
	return tag
}

func noted(t *testing.T, to Target, version string, at time.Time, stages ...string) {
	t.Helper()
	if err := NoteUse(t.Context(), to, version, stages, at); err != nil {
		t.Fatal(err)
	}
}

func unused(t *testing.T, of Target, r Retention) Unused {
	t.Helper()
	found, err := FindUnused(t.Context(), of, r)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	now   = date("2026-11-20").Add(9 * time.Hour)
	month = Retention{Since: now.AddDate(0, 0, -30), Versions: 2}
)

// What a registry holds after a year: the live version is old, and later builds
// came to nothing.
func TestUnused(t *testing.T) {
	to := target(t)
	if found := unused(t, to, month); len(found.Stages)+len(found.Unknown) > 0 {
		t.Errorf("an empty registry has %+v", found)
	}
	live := built(t, "{}", layerOf(t, "file", "app of the live version"), layerOf(t, "last", "1"))
	pushed(t, to, "1.0.0", live)
	amd, arm := built(t, "", layerOf(t, "file", "base amd64")), built(t, "", layerOf(t, "file", "base arm64"))
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: amd.Single}, mutate.IndexAddendum{Add: arm.Single})
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	pushed(t, to, "0.9.0", &image.Image{Index: index, Digest: digest})

	year, half := now.AddDate(-1, 0, 0), now.AddDate(0, -6, 0)
	app := stage(t, to, "stage.app.hrms.1", "app of the live version")
	base := stage(t, to, "stage.base.1", "base arm64")
	modules := stage(t, to, "stage.modules.hrms.1", "modules of the live version")
	tried := stage(t, to, "stage.modules.hrms.2", "modules of a build that failed")
	recent := stage(t, to, "stage.modules.hrms.3", "modules of last week")
	site := stage(t, to, "stage.site.1", "a site of half a year ago")
	gone := stage(t, to, "stage.modules.hrms.0", "modules of a year ago")
	same := stage(t, to, "stage.modules.crm.0", "modules of a year ago")
	early := stage(t, to, "stage.tools.0", "tools of a program that wrote no notes")
	noted(t, to, "0.8.0", year, gone, same, base, "stage.fetch.hrms.0")
	noted(t, to, "1.0.0", half, app, modules)
	noted(t, to, "1.1.0", now.AddDate(0, -3, 0), tried)
	noted(t, to, "1.1.0", now.AddDate(0, -3, 0), site)
	found := unused(t, to, month)
	if want := []string{same, gone}; !slices.Equal(found.Stages, want) || !slices.Equal(found.Unknown, []string{recent, early}) {
		t.Fatalf("unused %q, unknown %q; want %q", found.Stages, found.Unknown, want)
	}
	noted(t, to, "1.2.0", now.AddDate(0, 0, -7), recent)
	noted(t, to, "", now, early)
	if found = unused(t, to, month); !slices.Equal(found.Stages, []string{same, gone, tried, site}) || len(found.Unknown) > 0 {
		t.Fatalf("unused %q, unknown %q", found.Stages, found.Unknown)
	}
	if found := unused(t, to, Retention{Since: half.AddDate(-1, 0, 0), Versions: 2}); len(found.Stages) > 0 {
		t.Errorf("within two years were not used %q", found.Stages)
	}

	before := tags(t, to)
	removed, err := RemoveUnused(t.Context(), to, found)
	if err != nil || !slices.Equal(removed, found.Stages) {
		t.Fatalf("removed %q, %v", removed, err)
	}
	left := tags(t, to)
	for _, tag := range []string{"1.0.0", "0.9.0", app, base, modules, recent, early} {
		if !slices.Contains(left, tag) {
			t.Errorf("%s is gone", tag)
		}
	}
	// Two notes of the build that failed and that of the year before went too.
	if len(left) != len(before)-len(removed)-3 {
		t.Errorf("left are %q of %q", left, before)
	}
	if again := unused(t, to, month); len(again.Stages)+len(again.Unknown)+len(again.notes) > 0 {
		t.Errorf("a second time: %+v", again)
	}
	// Removed by another process meanwhile.
	if _, err := RemoveUnused(t.Context(), to, found); err != nil {
		t.Errorf("what is gone already: %v", err)
	}
}

// What only stages that go have is what they take up, once.
func TestUnusedSize(t *testing.T) {
	to := target(t)
	stage(t, to, "stage.a.1", "the same")
	stage(t, to, "stage.b.1", "the same")
	stage(t, to, "stage.c.1", "shared with one in use")
	stage(t, to, "stage.c.2", "shared with one in use")
	noted(t, to, "", now.AddDate(-1, 0, 0), "stage.a.1", "stage.b.1", "stage.c.1")
	noted(t, to, "", now, "stage.c.2")
	found := unused(t, to, month)
	manifest, err := built(t, "", layerOf(t, "file", "the same")).Single.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if want := manifest.Layers[0].Size + manifest.Config.Size; len(found.Stages) != 3 || found.Size != want {
		t.Errorf("%q take up %d bytes, want %d", found.Stages, found.Size, want)
	}
	if _, err := RemoveUnused(t.Context(), to, found); err != nil {
		t.Fatal(err)
	}
	if kept, err := (&Stages{Target: to}).Stage(t.Context(), "stage.c.2"); err != nil || kept == nil {
		t.Errorf("the one in use is %v, %v", kept, err)
	} else if err := whole(kept); err != nil {
		t.Error(err)
	}
}

// A builder notes what it uses while the question to remove it stands.
func TestUnusedButNowUsed(t *testing.T) {
	to := target(t)
	one, two := stage(t, to, "stage.a.1", "1"), stage(t, to, "stage.a.2", "2")
	noted(t, to, "", now.AddDate(-1, 0, 0), one, two)
	found := unused(t, to, month)
	noted(t, to, "1.0.0", now, one)
	late := stage(t, to, "stage.a.3", "3")
	noted(t, to, "", now.AddDate(-1, 0, 0), late)
	removed, err := RemoveUnused(t.Context(), to, unused(t, to, month).Only(found.Stages))
	if err != nil || !slices.Equal(removed, []string{two}) {
		t.Errorf("removed %q, %v; want only what was shown and is still unused", removed, err)
	}
}

// A note of long ago goes, and not the one of today that says the same.
func TestNotesOfTwoDays(t *testing.T) {
	to := target(t)
	one := stage(t, to, "stage.a.1", "1")
	for _, day := range []time.Time{now.AddDate(0, 0, -45), now.AddDate(0, 0, -44), now} {
		noted(t, to, "1.5.0", day, one)
	}
	if removed, err := RemoveUnused(t.Context(), to, unused(t, to, month)); err != nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	tags, err := listTags(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	notes := slices.DeleteFunc(tags, func(tag string) bool { return !strings.HasPrefix(tag, notePrefix) })
	if len(notes) != 1 || !strings.HasPrefix(notes[0], notePrefix+now.UTC().Format(time.DateOnly)) {
		t.Errorf("left are the notes %q, want today's", notes)
	}
	if u := unused(t, to, month); len(u.Unknown)+len(u.Stages) > 0 {
		t.Errorf("%+v are unused", u)
	}
}

// byDigest reports whether a request deletes a manifest by its digest.
func byDigest(r *http.Request) bool {
	return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/manifests/sha256:")
}

func byTag(r *http.Request) bool { return r.Method == http.MethodDelete && !byDigest(r) }

func TestRemoveUnusedFrom(t *testing.T) {
	impatient(t)
	always := func(status int, which func(*http.Request) bool) func(*testing.T, Target) Target {
		return func(t *testing.T, behind Target) Target {
			front, _ := limited(t, behind, status, 1<<30, which)
			return front
		}
	}
	either := func(r *http.Request) bool { return r.Method == http.MethodDelete }
	for label, test := range map[string]struct {
		registry func(*testing.T, Target) Target
		// shared is whether a stage goes whose manifest another tag keeps.
		shared bool
		code   string
		remedy string
		error  string
	}{
		"that deletes":                     {registry: func(_ *testing.T, behind Target) Target { return behind }, shared: true},
		"that deletes manifests alone":     {registry: always(405, byTag)},
		"that finds no tags to delete":     {registry: always(404, byTag)},
		"that takes a tag for a digest":    {registry: always(400, byTag)},
		"that deletes tags alone":          {registry: always(405, byDigest), shared: true},
		"that deletes nothing":             {registry: always(405, either), code: "registry.no-delete", remedy: "storage.delete.enabled"},
		"whose account may not":            {registry: always(403, either), code: "registry.forbidden", remedy: "give the account that right"},
		"that does not answer":             {registry: always(503, either), error: "503"},
		"of distribution with deletes off": {registry: undeleting, shared: true},
	} {
		t.Run(label, func(t *testing.T) {
			to := test.registry(t, target(t))
			goes, twin, stays := stage(t, to, "stage.a.1", "1"), stage(t, to, "stage.b.1", "2"), stage(t, to, "stage.b.2", "2")
			noted(t, to, "", now.AddDate(-1, 0, 0), goes, twin)
			noted(t, to, "1.0.0", now, stays)
			removed, err := RemoveUnused(t.Context(), to, unused(t, to, month))
			if kept, err := (&Stages{Target: to}).Stage(t.Context(), stays); err != nil || kept == nil {
				t.Errorf("the stage in use is gone: %v", err)
			}
			if test.code+test.error != "" {
				var found *problem.Error
				if errors.As(err, &found) && (found.Report[0].Code != test.code || !strings.Contains(found.Report[0].Remedy, test.remedy)) ||
					found == nil && (err == nil || test.error == "" || !strings.Contains(err.Error(), test.error)) || len(removed) > 0 {
					t.Errorf("removed %q, %v", removed, err)
				}
				return
			}
			want := []string{goes}
			if test.shared {
				want = append(want, twin)
			}
			if err != nil || !slices.Equal(removed, want) {
				t.Fatalf("removed %q, %v; want %q", removed, err, want)
			}
			for _, tag := range removed {
				if slices.Contains(tags(t, to), tag) {
					t.Errorf("%s is still there", tag)
				}
			}
		})
	}
}

// undeleting returns a registry that deletes no manifests.
func undeleting(t *testing.T, _ Target) Target {
	config := &configuration.Configuration{Storage: configuration.Storage{"filesystem": {"rootdirectory": t.TempDir()}, "maintenance": {"uploadpurging": map[any]any{"enabled": false}}}}
	config.HTTP.Secret = "of a test"
	app := handlers.NewApp(context.WithoutCancel(t.Context()), config)
	server := httptest.NewServer(app)
	t.Cleanup(func() {
		server.Close()
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return Target{Host: strings.TrimPrefix(server.URL, "http://"), Name: "acme/site"}
}

// A registry with immutable tags refuses a tag that is there, even for what it names.
func TestNoteUseOfImmutableTags(t *testing.T) {
	behind := target(t)
	to, refused := limited(t, behind, http.StatusConflict, 1<<30, func(r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		return slices.Contains(tags(t, behind), r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	})
	for range 2 {
		noted(t, to, "1.0.0", now, "stage.b.1", "stage.a.1", "stage.a.1")
		noted(t, to, "1.0.0", now.Add(time.Hour), "stage.a.1", "stage.b.1")
	}
	noted(t, to, "1.0.0", now.AddDate(0, 0, 1), "stage.a.1", "stage.b.1")
	noted(t, to, "1.1.0", now, "stage.a.1", "stage.b.1")
	if got := tags(t, behind); len(got) != 3 || refused.Load() > 0 {
		t.Errorf("%d notes were refused, and there are %q; want one for each day and version", refused.Load(), got)
	}
	read, err := readNote(t.Context(), to, tags(t, behind)[0])
	if err != nil || !slices.Equal(read.Stages, []string{"stage.a.1", "stage.b.1"}) {
		t.Errorf("read %+v, %v", read, err)
	}
	// It was overwritten by hand.
	stage(t, behind, tags(t, behind)[0], "no note")
	if _, err := FindUnused(t.Context(), behind, month); err == nil || !strings.Contains(err.Error(), "read stage.used.") {
		t.Errorf("what is no note: %v", err)
	}
}

// What a note or a stage says is read from the registry, which may be out of reach.
func TestUnusedNeedsTheRegistry(t *testing.T) {
	impatient(t)
	to := target(t)
	stage(t, to, "stage.a.1", "1")
	noted(t, to, "", now.AddDate(-1, 0, 0), "stage.a.1")
	for _, part := range []string{"/tags/list", "/manifests/stage.used.", "/manifests/stage.a.1", "/blobs/"} {
		front, _ := limited(t, to, http.StatusBadGateway, 1<<30, func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) })
		if found, err := FindUnused(t.Context(), front, month); err == nil {
			t.Errorf("without %s these are unused: %q", part, found.Stages)
		}
	}
}
