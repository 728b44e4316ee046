// Package archtest holds the rules of the whole: which package may import which,
// and what the workflows may do. It has tests only.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the folder of the module.
const root = "../.."

const (
	module = "github.com/desiredeffect/erpnext-pipeline/"
	dagger = "dagger.io/dagger"
)

// leaves are the packages that every other may import, and that import none of
// this module.
var leaves = []string{"internal/problem", "internal/release", "internal/secret"}

// source is a Go file with its imports.
type source struct {
	file string
	// dir is its package's folder from the root.
	dir     string
	test    bool
	imports []string
}

func readSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || strings.HasPrefix(name, ".") && file != root) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s := source{file: relative, dir: path.Dir(filepath.ToSlash(relative)), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		sources = append(sources, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

// in reports whether a package is one of the folders or below it.
func in(dir string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") })
}

// rule is about one import of one package.
type rule struct {
	name, why string
	// forbids takes the importing package's folder and what it imports: a
	// folder of this module, or the path of another module's package.
	forbids func(importer, imported string, test bool) bool
}

var rules = []rule{
	{"ci and deploy don't know each other", "hand plain values of internal/release over", func(importer, imported string, _ bool) bool {
		return in(importer, "ci") && in(imported, "deploy") || in(importer, "deploy") && in(imported, "ci")
	}},
	{"leaves import no other package of this module", "a leaf is what all others may import", func(importer, imported string, test bool) bool {
		return slices.Contains(leaves, importer) && in(imported, "ci", "deploy", "internal", "cmd") && (!test || imported != importer)
	}},
	{"Dagger stays where images are made", "take it from ci/image or internal/engine", func(importer, imported string, _ bool) bool {
		// ci/registry gives the engine what it has, and ci/smoketest runs an image.
		return in(imported, dagger) && !in(importer, "ci/image", "ci/registry", "ci/smoketest", "internal/engine", "internal/sandbox", "internal/cli", "test")
	}},
	{"the sandbox is for the demo and tests", "a release must not need it", func(importer, imported string, test bool) bool {
		return in(imported, "internal/sandbox") && !test && !in(importer, "internal/sandbox", "internal/cli", "test")
	}},
	{"the configuration stands above both halves", "have internal/config fill a struct of yours", func(importer, imported string, test bool) bool {
		return in(imported, "internal/config") && !test && !in(importer, "internal/config", "internal/cli", "internal/starter")
	}},
	{"the commands are imported by main alone", "move what is wanted into a package of its own", func(importer, imported string, _ bool) bool {
		return in(imported, "internal/cli", "cmd") && !in(importer, "internal/cli", "cmd", "test")
	}},
}

// imported returns an import as the rules take it.
func imported(path string) string { return strings.TrimPrefix(path, module) }

func TestImports(t *testing.T) {
	sources := readSources(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for _, s := range sources {
				for _, path := range s.imports {
					if rule.forbids(s.dir, imported(path), s.test) {
						t.Errorf("%s imports %s: %s", s.file, path, rule.why)
					}
				}
			}
		})
	}
}

// A rule that forbids nothing would pass for ever.
func TestRulesForbid(t *testing.T) {
	for _, c := range []struct {
		rule               int
		importer, imported string
		test               bool
		want               bool
	}{
		{0, "ci/apps", module + "deploy/host", false, true},
		{0, "deploy", module + "ci/apps", true, true},
		{0, "deploy/compose", module + "internal/release", false, false},
		{0, "cmd/pipeline", module + "deploy", false, false},
		{1, "internal/release", module + "internal/problem", false, true},
		{1, "internal/secret", module + "internal/secret", true, false},
		{1, "internal/secret", module + "ci/apps", true, true},
		{1, "internal/secret", "github.com/rs/zerolog", false, false},
		{2, "deploy", dagger, false, true},
		{2, "ci/apps", dagger + "/dag", true, true},
		{2, "ci/image", dagger, false, false},
		{3, "deploy/host", module + "internal/sandbox/host", false, true},
		{3, "deploy/host", module + "internal/sandbox/host", true, false},
		{3, "internal/engine", module + "internal/sandbox/localengine", false, true},
		{4, "deploy", module + "internal/config", false, true},
		{4, "internal/cli", module + "internal/config", false, false},
		{5, "ci/apps", module + "internal/cli", false, true},
		{5, "cmd/pipeline", module + "internal/cli", false, false},
	} {
		if got := rules[c.rule].forbids(c.importer, imported(c.imported), c.test); got != c.want {
			t.Errorf("%s: %s importing %s (test: %v) is forbidden: %v, want %v", rules[c.rule].name, c.importer, c.imported, c.test, got, c.want)
		}
	}
}

func TestPackagesSayWhatTheyAreAbout(t *testing.T) {
	sources := readSources(t)
	if len(sources) == 0 {
		t.Fatal("no Go file was found")
	}
	for _, s := range sources {
		if name := path.Base(s.dir); slices.Contains([]string{"util", "utils", "common", "manager", "helper", "helpers", "misc"}, name) {
			t.Errorf("%s: a package named %s says nothing", s.file, name)
		}
	}
}
