package localengine

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// The SDK refuses an engine of another version, and the tools' modules are
// apart from go.mod: nothing else keeps them together.
func TestVersionsAgree(t *testing.T) {
	for name, test := range map[string]struct{ file, module, want string }{
		"SDK":     {"../../../go.mod", "dagger.io/dagger", engine.Version},
		"engine":  {"modules/engine/module.mod", "github.com/dagger/dagger", engine.Version},
		"compose": {"modules/compose/module.mod", "github.com/docker/compose/v5", composeVersion},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(test.file)
			if err != nil {
				t.Fatal(err)
			}
			required := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(test.module) + ` (\S+)`).FindStringSubmatch(string(content))
			if required == nil || required[1] != test.want {
				t.Errorf("%s requires %s %v, want %s", test.file, test.module, required, test.want)
			}
		})
	}
}

func TestBuildKey(t *testing.T) {
	module, err := engineBuild.module()
	if err != nil {
		t.Fatal(err)
	}
	key := engineBuild.key(module)
	if other := composeBuild.key(module); other == key {
		t.Errorf("other commands of the same module have the same key %s", key)
	}
	module["go.sum"] = append(module["go.sum"], '\n')
	if other := engineBuild.key(module); other == key {
		t.Errorf("another module has the same key %s", key)
	}
	for _, b := range []build{engineBuild, mirrorBuild, composeBuild, supervisorBuild} {
		module, err := b.module()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(module["go.mod"]), "module ") {
			t.Errorf("%s has no go.mod", b.name)
		}
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{
		"engine-old": unusedAge + time.Hour, "engine-used": time.Hour, "engine.building-1": 0,
		"compose-old": unusedAge + time.Hour, "compose.building-1": 0,
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := engineBuild.prune(dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if got, want := strings.Join(left, " "), "compose-old compose.building-1 engine-used"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}
