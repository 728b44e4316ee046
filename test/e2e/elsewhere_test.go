package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestBuiltElsewhere has an engine with an empty cache build what another one has
// built: from the stages in the registry, as a new runner does, and without them.
func TestBuiltElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images on two engines")
	}
	enginetest.Shared(t)
	b := newBenchmark(t)
	reference, _, _ := b.push(newWorld(t, sandbox.Options{NoHost: true}), b.registry, b.apps, "1.0.0")
	image := b.image(reference)
	first := b.layers(image)

	world := emptyEngine(t, b.repositories)
	reference, built, _ := b.push(world, b.registry, b.changed["elsewhere"], "1.0.1")
	// What is no stage is done every time, and packages are resolved for all apps.
	always := regexp.MustCompile(`"message":"(resolved every ref to a commit|packages|push|bill of materials)"`)
	for _, stage := range built {
		if !strings.Contains(stage, "payments") && !always.MatchString(stage) {
			t.Errorf("only payments has changed, and this was built again: %s", stage)
		}
	}
	before, whole, _ := b.sizes(image, 0)
	after, _, _ := b.sizes(b.image(reference), 0)
	if pulled := pulledBeside(before, after); pulled == 0 || pulled > whole/20 {
		t.Errorf("a host that has the image of %d bytes pulls %d for one app", whole, pulled)
	}

	empty, err := registry.Serve(t.Context(), filepath.Join(t.TempDir(), "registry"))
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	reference, _, _ = b.push(world, empty, b.apps, "1.0.0")
	again := b.layers(b.image(reference))
	for i := range max(len(first), len(again)) {
		if i >= len(first) || i >= len(again) || first[i] != again[i] {
			t.Fatalf("the same lock gives another image: its layers are\n%s\nand were\n%s", strings.Join(again, "\n"), strings.Join(first, "\n"))
		}
	}
}
