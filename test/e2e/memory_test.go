package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestMemory builds an image of fifty apps and looks at how much memory the
// program took for it.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("builds an image")
	}
	const many, mostMemory = 50, 150 << 20
	root := filepath.Join(t.TempDir(), "repositories")
	if _, err := apps.Write(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	selection := apps.Selection{{Owner: "frappe", Name: "frappe", Ref: "v15.1.0"}}
	for i := 1; i < many; i++ {
		name := fmt.Sprintf("app_%02d", i)
		smallApp(t, filepath.Join(root, "acme", name+".git"), name)
		selection = append(selection, apps.Ref{Owner: "acme", Name: name, Ref: "main"})
	}
	enginetest.Shared(t)
	world := newWorld(t, sandbox.Options{Name: "memory", NoHost: true, Repositories: root})
	list, err := selection.AppsJSON(world.GitHub.URL())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(world.Dir, "apps.json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "pipeline")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/pipeline").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "push", "--skip-smoke-test", "--env-file", "", "--version", "1.0.0", "--apps", file)
	if cmd.Env, err = world.Environment(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := watchMemory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "desiredeffect/erpnext-custom:1.0.0@sha256:") {
		t.Errorf("printed\n%s", out.String())
	}
	took, err := peak()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program took %d MB for %d apps", took>>20, many)
	if took > mostMemory {
		t.Errorf("the program took %d MB for %d apps, more than %d MB", took>>20, many, mostMemory>>20)
	}
}

// watchMemory looks at a process until it ends, and then returns the most memory
// that it had, in bytes. What wait4 tells is no use: it begins with what the
// process that started it had.
func watchMemory(pid int) func() (int, error) {
	most := make(chan int)
	go func() {
		peak := 0
		for {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, after, ok := strings.Cut(string(text), "VmHWM:")
			if err != nil || !ok {
				most <- peak
				return
			}
			var kilobytes int
			if _, err := fmt.Sscan(after, &kilobytes); err == nil {
				peak = max(peak, kilobytes<<10)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return func() (int, error) {
		peak := <-most
		if peak == 0 {
			return 0, errors.New("the kernel did not tell how much memory the program took")
		}
		return peak, nil
	}
}

// smallApp makes the bare repository of an app that has nothing but a name.
func smallApp(t *testing.T, bare, name string) {
	t.Helper()
	work := t.TempDir()
	for file, text := range map[string]string{
		"pyproject.toml":      "[project]\nname = \"" + name + "\"\ndynamic = [\"version\"]\ndescription = \"One of many\"\n\n[build-system]\nrequires = [\"flit_core >=3.4,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n",
		name + "/__init__.py": "__version__ = \"0.0.1\"\n",
		name + "/hooks.py":    "app_name = \"" + name + "\"\n",
		name + "/modules.txt": "",
		name + "/patches.txt": "",
	} {
		path := filepath.Join(work, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, "init", "--quiet", "--initial-branch", "main", work)
	commitAll(t, work, name)
	git(t, "clone", "--quiet", "--bare", work, bare)
}
