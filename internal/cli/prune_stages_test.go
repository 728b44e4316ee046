package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// withStages makes a machine whose cache has the stages of [fill].
func withStages(t *testing.T) (home string, environ []string) {
	t.Helper()
	home = t.TempDir()
	t.Chdir(home)
	e, err := registry.Serve(t.Context(), filepath.Join(home, "erpnext-pipeline", "images"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fill(t, registry.Target{Host: e.Address(), Name: "acme/site"})
	return home, []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, "IMAGE_NAME=acme/site"}
}

// fill stores stages that were used months ago, lately and today, and one that no
// note names.
func fill(t *testing.T, target registry.Target) {
	t.Helper()
	for tag, ago := range map[string]int{"stage.a.old": 90, "stage.a.new": 0, "stage.a.fortnight": 14, "stage.a.unknown": -1} {
		image, err := random.Image(1<<20, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&registry.Stages{Target: target}).Keep(t.Context(), tag, image); err != nil {
			t.Fatal(err)
		}
		if ago < 0 {
			continue
		}
		if err := registry.NoteUse(t.Context(), target, "1.0.0", []string{tag}, time.Now().AddDate(0, 0, -ago)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPruneStages(t *testing.T) {
	home, environ := withStages(t)
	code, out, errs := quietly(t, environ, "prune", "--stages")
	if code != ExitUsage || out != "stage.a.old\n" || !strings.Contains(errs, "give --yes") || !strings.Contains(errs, "1.0 MB") {
		t.Errorf("without --yes: exit %d, %q\n%s", code, out, errs)
	}
	other, err := registry.Serve(t.Context(), filepath.Join(home, "erpnext-pipeline", "images"))
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs = quietly(t, environ, "prune", "--stages", "--yes")
	if code != ExitUsage || !strings.Contains(errs, "another process uses the images on this machine") {
		t.Errorf("beside another process: exit %d, %q\n%s", code, out, errs)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errs = quietly(t, environ, "prune", "--stages", "--yes")
	if code != ExitDone || out != "stage.a.old\n" || !strings.Contains(errs, "removed what only these needed") {
		t.Errorf("exit %d, %q\n%s", code, out, errs)
	}
	code, out, errs = quietly(t, environ, "prune", "--stages", "--yes")
	if code != ExitDone || out != "" || !strings.Contains(errs, "nothing to remove") {
		t.Errorf("a second time: exit %d, %q\n%s", code, out, errs)
	}
	code, out, _ = quietly(t, environ, "prune", "--stages", "--older-than", "7d", "--yes")
	if code != ExitDone || out != "stage.a.fortnight\n" {
		t.Errorf("of a week: exit %d, %q", code, out)
	}
}

// Without an image's name it is not known where to look; nothing else is needed.
func TestPruneStagesNeedsTheName(t *testing.T) {
	t.Chdir(t.TempDir())
	code, _, errs := quietly(t, []string{"XDG_CACHE_HOME=" + t.TempDir()}, "prune", "--stages")
	if code != ExitUsage || !strings.Contains(errs, "IMAGE_NAME is not set, but needed for prune --stages") || strings.Contains(errs, "DEPLOY_HOST") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// The stages of a registry are pruned, and this machine's are left alone.
func TestPruneStagesOfARegistry(t *testing.T) {
	_, environ := withStages(t)
	e, err := registry.Serve(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	target := registry.Target{Host: e.Address(), Name: "acme/site"}
	fill(t, target)
	code, out, errs := quietly(t, append(environ, "REGISTRY="+e.Address()), "prune", "--stages", "--yes")
	if code != ExitDone || out != "stage.a.old\n" || !strings.Contains(errs, "collected its garbage") {
		t.Errorf("exit %d, %q\n%s", code, out, errs)
	}
	for tag, want := range map[string]bool{"stage.a.old": false, "stage.a.new": true, "stage.a.fortnight": true, "stage.a.unknown": true} {
		if found, err := (&registry.Stages{Target: target}).Stage(t.Context(), tag); err != nil || (found != nil) != want {
			t.Errorf("%s: %v, %v", tag, found, err)
		}
	}
	if code, out, _ := quietly(t, environ, "prune", "--stages", "--yes"); code != ExitDone || out != "stage.a.old\n" {
		t.Errorf("of this machine: exit %d, %q", code, out)
	}
}
