package image

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// full is a store that has every stage of the example lock: each with a file
// that bears its tag.
func full(t *testing.T) *store {
	return &store{has: func(tag string) (v1.Image, error) {
		switch strings.Split(tag, ".")[1] {
		case "base":
			// Earlier versions stored texts with it.
			return stored(t, map[string]string{"base": tag}, map[string]string{"dpkg": "Package: nginx\n", "os-release": "ID=debian\n"}), nil
		case "assets":
			return stored(t, map[string]string{"assets": tag}, map[string]string{"assets.json": fmt.Sprintf("{%q: %q}", tag, "/assets/x")}), nil
		case "packages":
			return stored(t, nil, map[string]string{"lock.txt": "six==1.16.0 \\\n    --hash=sha256:ab\n"}), nil
		}
		return stored(t, map[string]string{"file": tag}, nil), nil
	}}
}

func TestBuildFromStoredStages(t *testing.T) {
	b := exampleBuilder(t)
	first := full(t)
	b.Stores = []Store{first}
	lock := exampleLock()
	built, err := b.Build(t.Context(), lock)
	if err != nil {
		t.Fatal(err)
	}
	if built.Index != nil || built.Single == nil || built.Native != built.Single || !slices.Equal(built.Platforms, []v1.Image{built.Single}) {
		t.Fatalf("one platform gives %+v", built)
	}
	if got := digestOf(t, built.Single); got != built.Digest.String() {
		t.Errorf("named %s, is %s", built.Digest, got)
	}

	file, err := built.Single.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	created := lock.Apps[4].CommittedAt
	var history []string
	for _, h := range file.History {
		history = append(history, h.CreatedBy)
		if !h.Created.Equal(created) {
			t.Errorf("%q was created %s", h.CreatedBy, h.Created)
		}
	}
	// What changes least lies lowest.
	commit := func(i int) string { return " v" + fmt.Sprint(i) + " " + lock.Apps[i].Commit }
	wantHistory := []string{
		"system packages, Python 3.11.6, Node 18.18.2", "bench 5.31.1", "Python packages", "node modules of frappe", "node modules of wiki",
		"frappe" + commit(0), "bundles of frappe", "erpnext" + commit(1), "bundles of erpnext",
		"hrms" + commit(2), "bundles of hrms", "front end of hrms", "wiki" + commit(3), "payments" + commit(4), "bench",
	}
	if !slices.Equal(history, wantHistory) {
		t.Errorf("history %q\nwant %q", history, wantHistory)
	}
	layers, err := built.Single.Layers()
	if err != nil || len(layers) != len(wantHistory) {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	for _, layer := range layers {
		if kind, err := layer.MediaType(); err != nil || kind != types.OCILayer {
			t.Errorf("media type of a layer %s, %v", kind, err)
		}
	}
	if _, texts := listing(t, layers[len(layers)-1]); texts["home/frappe/frappe-bench/requirements.lock"] != lock.Requirements {
		t.Error("the last layer is not the bench")
	}

	if file.OS != "linux" || file.Architecture != "amd64" || !file.Created.Equal(created) {
		t.Errorf("is for %s/%s, of %s", file.OS, file.Architecture, file.Created)
	}
	labels := file.Config.Labels
	file.Config.Labels = nil
	want := v1.Config{
		User: "frappe", WorkingDir: "/home/frappe/frappe-bench", Entrypoint: []string{"/usr/local/bin/entrypoint.sh"}, Cmd: []string{"start.sh"},
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
		Volumes: map[string]struct{}{"/home/frappe/frappe-bench/sites": {}, "/home/frappe/frappe-bench/logs": {}},
	}
	if !reflect.DeepEqual(file.Config, want) {
		t.Errorf("configuration %+v\nwant %+v", file.Config, want)
	}
	annotations := map[string]string{
		"org.opencontainers.image.version": "1.1.5", "org.opencontainers.image.created": "2024-03-16T17:25:32Z",
		"org.opencontainers.image.source": "https://github.com/frappe/frappe", "org.opencontainers.image.revision": lock.Apps[0].Commit,
	}
	raw, err := built.Single.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(raw.Annotations, annotations) || raw.MediaType != types.OCIManifestSchema1 || raw.Config.MediaType != types.OCIConfigJSON {
		t.Errorf("manifest %s of %s with %v", raw.MediaType, raw.Config.MediaType, raw.Annotations)
	}
	if !strings.Contains(labels[ManifestLabel], `"name":"hrms"`) {
		t.Errorf("label %q", labels[ManifestLabel])
	}
	delete(labels, ManifestLabel)
	if !maps.Equal(labels, annotations) {
		t.Errorf("labels %v, want besides the manifest %v", labels, annotations)
	}

	if len(built.Manifest.Packages) != 1 || built.Manifest.Packages[0].Name != "click" || !built.Created.Equal(created) {
		t.Errorf("manifest with %v, of %s", built.Manifest.Packages, built.Created)
	}
	// Nothing was built, so nothing that other builds want is missing.
	if err := built.StoreStages(t.Context()); err != nil || len(first.kept) > 0 {
		t.Errorf("stored %v, %v", slices.Sorted(maps.Keys(first.kept)), err)
	}
	for _, tag := range first.asked {
		if strings.HasPrefix(tag, "stage.tools.") || strings.HasPrefix(tag, "stage.modules.") || strings.HasPrefix(tag, "stage.packer.") {
			t.Errorf("was asked for %s, which nothing needs", tag)
		}
	}
}

// The same lock makes the same image, and another one another.
func TestBuildIsDeterministic(t *testing.T) {
	build := func(change func(*release.Lock)) string {
		b, lock := exampleBuilder(t), exampleLock()
		change(&lock)
		b.Stores = []Store{full(t)}
		built, err := b.Build(t.Context(), lock)
		if err != nil {
			t.Fatal(err)
		}
		return built.Digest.String()
	}
	digest := build(func(*release.Lock) {})
	for range 3 {
		if again := build(func(*release.Lock) {}); again != digest {
			t.Fatalf("the same lock gives %s and %s", digest, again)
		}
	}
	for name, change := range map[string]func(*release.Lock){
		"another version":          func(l *release.Lock) { l.SiteVersion = "1.1.6" },
		"other packages":           func(l *release.Lock) { l.Requirements += "six==1.16.0\n" },
		"another commit":           func(l *release.Lock) { l.Apps[2].Commit = strings.Repeat("f", 40) },
		"another digest of a base": func(l *release.Lock) { l.Bases[packerBase] = "sha256:dd" },
	} {
		if other := build(change); other == digest {
			t.Errorf("%s gives the same image", name)
		}
	}
}

func TestBuildForSeveralPlatforms(t *testing.T) {
	b := exampleBuilder(t)
	b.Platforms = append(b.Platforms, "linux/arm64")
	slices.Reverse(b.Platforms) // the engine's own is not the first
	b.Stores = []Store{full(t)}
	built, err := b.Build(t.Context(), exampleLock())
	if err != nil {
		t.Fatal(err)
	}
	if built.Single != nil {
		t.Error("two platforms give a single image")
	}
	index, err := built.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if index.MediaType != types.OCIImageIndex || index.Annotations["org.opencontainers.image.version"] != "1.1.5" {
		t.Errorf("index %s with %v", index.MediaType, index.Annotations)
	}
	var platforms []string
	for _, d := range index.Manifests {
		platforms = append(platforms, d.Platform.String())
	}
	if !slices.Equal(platforms, []string{"linux/arm64", "linux/amd64"}) {
		t.Errorf("platforms %q", platforms)
	}
	if len(built.Platforms) != 2 || digestOf(t, built.Platforms[0]) != index.Manifests[0].Digest.String() || built.Platforms[1] != built.Native {
		t.Errorf("the images are not those of the index: %v", built.Platforms)
	}
	if got := digestOf(t, built.Native); got != index.Manifests[1].Digest.String() {
		t.Errorf("the engine's own is %s, want %s", got, index.Manifests[1].Digest)
	}
	if got := digestOf(t, built.Index); got != built.Digest.String() {
		t.Errorf("named %s, is %s", built.Digest, got)
	}
	// Of what does not depend on the platform both have the same layers.
	layers := func(i int) []string {
		image, err := built.Index.Image(index.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		all, err := partial.FSLayers(image)
		if err != nil {
			t.Fatal(err)
		}
		var digests []string
		for _, d := range all {
			digests = append(digests, d.String())
		}
		return digests
	}
	arm, amd := layers(0), layers(1)
	if len(arm) != 15 || !slices.Equal(arm[5:], amd[5:]) {
		t.Errorf("from the first app on:\n%q\n%q", arm, amd)
	}
	for i := range 5 {
		if arm[i] == amd[i] {
			t.Errorf("layer %d is the same for both", i)
		}
	}
}

// Resolve completes the lock from a stored resolution.
func TestResolveFromStoredStages(t *testing.T) {
	b := exampleBuilder(t)
	b.Stores = []Store{full(t)}
	lock, err := b.Resolve(t.Context(), exampleLock())
	if err != nil {
		t.Fatal(err)
	}
	if lock.Requirements != "six==1.16.0 \\\n    --hash=sha256:ab\n" || lock.Apps[1].Version != "15.15.0" || lock.Bases[packerBase] != "sha256:cc" {
		t.Errorf("lock %+v", lock)
	}
}

func TestTooManyLayers(t *testing.T) {
	some := stored(t, map[string]string{"a": ""}, nil)
	build := func(apps int) error {
		found := func() *stage {
			s := &stage{}
			s.run.kept = some
			return s
		}
		b := &Builder{}
		g := &graph{bases: []*stage{found()}, commands: []*stage{found()}, environments: []*stage{found()}, served: []map[string]*stage{{}}}
		for i := range apps {
			b.apps = append(b.apps, app{App: release.App{Name: fmt.Sprint("app", i)}})
			g.sources = append(g.sources, found())
		}
		last, err := fileSystem(some)
		if err != nil {
			t.Fatal(err)
		}
		m, err := newManifest(exampleLock(), "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.mergeLayers(g.layers(0, b.apps), "linux/amd64", m, last)
		return err
	}
	// Besides the apps' there are those of the base, bench, the packages and
	// what links them all.
	if err := build(116); err != nil {
		t.Errorf("116 apps: %v", err)
	}
	err := build(117)
	var problems *problem.Error
	if !errors.As(err, &problems) {
		t.Fatalf("117 apps: %v", err)
	}
	p := problems.Report[0]
	if p.Code != "image.layers" || p.Error() != "apps.json: 117 apps make 121 layers, and an image can have 120" || p.Remedy != "leave out apps that no site has installed" {
		t.Errorf("problem %+v", p)
	}
}

// A store that fails ends the build, with the stage's name.
func TestBuildReportsTheStore(t *testing.T) {
	b := exampleBuilder(t)
	b.Stores = []Store{&store{has: func(string) (v1.Image, error) { return nil, errors.New("502") }}}
	_, err := b.Build(t.Context(), exampleLock())
	if !strings.HasPrefix(message(err), "look for stage ") || !strings.HasSuffix(message(err), ": 502") {
		t.Errorf("error %q", message(err))
	}
	b, lock := exampleBuilder(t), exampleLock()
	lock.Requirements = "click>=8\n"
	if _, err := b.Build(t.Context(), lock); message(err) != `resolved packages, line 1: "click>=8" is neither a pinned package nor a hash` {
		t.Errorf("error %q", message(err))
	}
}
