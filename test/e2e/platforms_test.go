package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/emulation"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestPlatforms builds one version for two processors on this machine, which
// has one of them and emulates the other. That takes a quarter of an hour, so
// it runs only where TEST_PLATFORMS is set.
func TestPlatforms(t *testing.T) {
	u := newEmulatingUser(t)
	embedded, err := registry.Serve(t.Context(), filepath.Join(u.world.Dir, "platforms"))
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	u = u.with("REGISTRY=" + embedded.Address())
	githubtest.New(t, filepath.Join(u.world.Dir, "repositories"), "acme/machines").CommitEntries("main", common("machines", githubtest.Entry{Path: "pyproject.toml", Text: `[project]
name = "machines"
version = "0.0.1"
description = "An app that needs another package on each processor"
dependencies = ["toolz==0.12.0; platform_machine == 'x86_64'", "toolz==1.0.0; platform_machine == 'aarch64'", "iniconfig; platform_machine == 'aarch64'"]

[build-system]
requires = ["flit_core >=3.4,<4"]
build-backend = "flit_core.buildapi"
`})...)
	start := time.Now()
	pushed := strings.TrimSpace(u.must(u.forBoth("push", "--skip-smoke-test")...))
	t.Logf("built and pushed for two platforms in %.0f s", time.Since(start).Seconds())
	list[twoPlatforms]{
		{"it has an image for each platform", twoPlatforms.images},
		{"it runs on linux/amd64", twoPlatforms.runsOnAMD64},
		{"it runs on linux/arm64", twoPlatforms.runsOnARM64},
		{"it is smoke-tested on this machine's", twoPlatforms.smokeTested},
		{"a file of it", twoPlatforms.file},
		{"Docker takes one platform", twoPlatforms.loaded},
		{"a mirror with one platform", twoPlatforms.mirrorWithOne},
	}.run(twoPlatforms{u, pushed}, t)
}

// twoPlatforms is a user who pushed an image for two platforms.
type twoPlatforms struct {
	*user
	pushed string
}

func (p twoPlatforms) in(t *testing.T) twoPlatforms { return twoPlatforms{p.user.in(t), p.pushed} }

// forBoth returns the arguments of a command that makes 1.0.0 for both.
func (u *user) forBoth(name string, flags ...string) []string {
	u.t.Helper()
	return u.command(name, "1.0.0", append(apps.Version1(), apps.Ref{Owner: "acme", Name: "machines", Ref: "main"}), append(flags, "--platform", "linux/amd64,linux/arm64")...)
}

func (p twoPlatforms) images(t *testing.T) {
	reference, err := name.ParseReference(p.pushed)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference)
	if err != nil {
		t.Fatal(err)
	}
	byPlatform := imagesOf(t, index)
	if len(byPlatform) != 2 || byPlatform["linux/amd64"] == nil || byPlatform["linux/arm64"] == nil {
		t.Fatalf("%s is for %v", p.pushed, byPlatform)
	}
	sameAndOther(t, byPlatform["linux/amd64"], byPlatform["linux/arm64"])
	lists := func(digest string, toolz ...string) {
		var found []string
		for address := range contentsOf(t, reference.Context().Tag("1.0.0").String()+"@"+digest) {
			if version, is := strings.CutPrefix(address, "pkg:pypi/toolz@"); is {
				found = append(found, version)
			}
		}
		if slices.Sort(found); !slices.Equal(found, toolz) {
			t.Errorf("the bill of materials of %s lists toolz %q, want %q", digest, found, toolz)
		}
	}
	lists(reference.Identifier(), "0.12.0", "1.0.0")
	for platform, toolz := range map[string]string{"linux/amd64": "0.12.0", "linux/arm64": "1.0.0"} {
		digest, err := byPlatform[platform].Digest()
		if err != nil {
			t.Fatal(err)
		}
		lists(digest.String(), toolz)
	}
}

func (p twoPlatforms) runsOnAMD64(t *testing.T) {
	p.runsOn(t, "linux/amd64", "x86-64", "toolz 0.12.0, iniconfig False")
}

func (p twoPlatforms) runsOnARM64(t *testing.T) {
	p.runsOn(t, "linux/arm64", "ARM aarch64", "toolz 1.0.0, iniconfig True")
}

func (p twoPlatforms) runsOn(t *testing.T, platform dagger.Platform, machine, packages string) {
	out, err := p.world.Client.Container(dagger.ContainerOpts{Platform: platform}).From(p.pushed).
		WithExec([]string{"sh", "-euc", `
id -u
env/bin/python -c 'import frappe; print(frappe.__version__)'
env/bin/python -c 'import importlib.util, toolz; print("toolz", toolz.__version__ + ", iniconfig", importlib.util.find_spec("iniconfig") is not None)'
node --version
file --brief --dereference env/bin/python /usr/local/bin/node /usr/sbin/nginx | cut -d , -f 2`}).
		Stdout(t.Context())
	if want := "1000\n15.1.0\n" + packages + "\nv" + bothNode + "\n" + strings.Repeat(" "+machine+"\n", 3); err != nil || out != want {
		t.Errorf("printed\n%s%v, want\n%s", out, err, want)
	}
}

func (p twoPlatforms) smokeTested(t *testing.T) {
	code, out, errs := p.run(p.forBoth("push")...)
	if code != 0 || strings.TrimSpace(out) != p.pushed || !strings.Contains(errs, "smoke test: ") {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
}

func (p twoPlatforms) file(t *testing.T) {
	archive, lock := filepath.Join(p.world.Dir, "image.tar"), filepath.Join(p.world.Dir, "lock.json")
	start := time.Now()
	p.must(p.forBoth("build", "--output", archive, "--lock", lock)...)
	t.Logf("built again in %.0f s", time.Since(start).Seconds())
	_, digest, _ := strings.Cut(p.pushed, "@")
	fromArchive(t, archive, digest)
	p.basesAreIndexes(lock)
}

func (p twoPlatforms) loaded(*testing.T) {
	p.fails(p.forBoth("build", "--load"), cli.ExitUsage, "several platforms can't be loaded into Docker: choose one with --platform")
}

func (p twoPlatforms) mirrorWithOne(t *testing.T) {
	single, err := registry.Serve(t.Context(), filepath.Join(p.world.Dir, "single"))
	if err != nil {
		t.Fatal(err)
	}
	defer single.Close()
	for _, base := range append(images.Set{"debian:bookworm-slim"}, bothBases...) {
		copyNative(t, p.world.Engine.Mirror()+"/library/"+base, single.Address()+"/library/"+base)
	}
	var wants []string
	for _, base := range bothBases {
		wants = append(wants, "base image "+base+": is there for linux/amd64 and not for linux/arm64")
	}
	p.with("IMAGE_MIRROR="+single.Address()).fails(p.forBoth("build"), cli.ExitUsage, wants...)
}

// copyNative copies from an image what this machine runs.
func copyNative(t *testing.T, from, to string) {
	t.Helper()
	source, err := name.NewTag(from)
	if err != nil {
		t.Fatal(err)
	}
	target, err := name.NewTag(to)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(source, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(target, image); err != nil {
		t.Fatal(err)
	}
}

// Versions of which npm has Node for both processors. No other test has
// them: what is built on other base images stays as it is.
const (
	bothPython = "3.11.9"
	bothNode   = "18.20.8"
)

// bothBases are the base images that are needed for each platform. What layers
// are packed with runs natively.
var bothBases = images.Set{"python:" + bothPython + "-slim-bookworm", "node:" + bothNode + "-bookworm-slim"}

// newEmulatingUser is a user who builds on this machine for both processors,
// and deploys nothing.
func newEmulatingUser(t *testing.T) *user {
	t.Helper()
	if testing.Short() || os.Getenv("TEST_PLATFORMS") == "" {
		t.Skip("emulates a processor, which takes a quarter of an hour: set TEST_PLATFORMS=1")
	}
	u := withTurn(t)
	log := enginetest.Log(t).Level(zerolog.InfoLevel)
	u.world = newWorld(t, sandbox.Options{Name: "platforms", NoHost: true, Log: log})
	start := time.Now()
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	undo, err := emulation.Enable(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	})
	for _, architecture := range []string{runtime.GOARCH, other} {
		if _, err := images.EnsureFor(t.Context(), u.world.Client, u.world.Engine.Mirror(), architecture, bothBases, log); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("emulation and base images after %.0f s", time.Since(start).Seconds())
	environ, err := u.world.Environment()
	if err != nil {
		t.Fatal(err)
	}
	u.environ = append(environ, "PYTHON_VERSION="+bothPython, "NODE_VERSION="+bothNode)
	return u
}

// imagesOf are the images of an index by their platform.
func imagesOf(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIImageIndex {
		t.Errorf("it is a %s", manifest.MediaType)
	}
	found := map[string]v1.Image{}
	for _, entry := range manifest.Manifests {
		image, err := index.Image(entry.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if own := config.Platform().String(); own != entry.Platform.String() {
			t.Errorf("the index has an image for %s, which is for %s itself", entry.Platform, own)
		}
		found[entry.Platform.String()] = image
	}
	return found
}

// sameAndOther holds that two platforms have in common what is in no
// processor's language, and nothing else.
func sameAndOther(t *testing.T, one, two v1.Image) {
	t.Helper()
	layers := func(image v1.Image) (digests, history []string) {
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		for i, layer := range manifest.Layers {
			digests, history = append(digests, layer.Digest.String()), append(history, config.History[i].CreatedBy)
		}
		return digests, history
	}
	ones, history := layers(one)
	twos, theirs := layers(two)
	if !slices.Equal(history, theirs) {
		t.Fatalf("the layers of one are\n%q\nand of the other\n%q", history, theirs)
	}
	var other []string
	for i, what := range history {
		if ones[i] != twos[i] {
			other = append(other, what)
		}
	}
	// The fixture's node modules are JavaScript alone once compilers are pruned.
	want := []string{"system packages, ", "bench ", "Python packages"}
	if !slices.EqualFunc(other, want, strings.HasPrefix) {
		t.Errorf("these layers differ: %q, want %q, of\n%q", other, want, history)
	}
}

// fromArchive holds that a file is an archive of OCI's layout with one index
// in it.
func fromArchive(t *testing.T, path, digest string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "tar", "--extract", "--file", path, "--directory", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != digest {
		t.Fatalf("in the file is %+v, want %s", manifest.Manifests, digest)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	for platform, image := range imagesOf(t, index) {
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range layers {
			digest, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "blobs", digest.Algorithm, digest.Hex)); err != nil {
				t.Errorf("of the image for %s: %v", platform, err)
			}
		}
	}
}

// basesAreIndexes holds that a lock names base images by what each platform
// finds its own under.
func (u *user) basesAreIndexes(path string) {
	u.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		u.t.Fatal(err)
	}
	var lock release.Lock
	if err := json.Unmarshal(text, &lock); err != nil {
		u.t.Fatal(err)
	}
	for _, base := range bothBases {
		reference, err := name.NewDigest(u.world.Engine.Mirror() + "/library/" + base + "@" + lock.Bases[base])
		if err != nil {
			u.t.Fatal(err)
		}
		index, err := remote.Index(reference)
		if err != nil {
			u.t.Fatal(err)
		}
		if found := imagesOf(u.t, index); len(found) != 2 {
			u.t.Errorf("%s is pinned to what is for %v", base, found)
		}
	}
}
