package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// How long a file and a function may be, in lines, where most of the work is
// done. What is longer does more than one thing. The schema is a table.
const (
	mostFileLines     = 400
	mostFunctionLines = 80
)

func TestLengths(t *testing.T) {
	checked := 0
	for _, s := range readSources(t) {
		if s.test || !in(s.dir, "ci", "deploy", "internal/cli", "internal/config", "internal/engine", "cmd") || s.file == filepath.FromSlash("internal/config/schema.go") {
			continue
		}
		checked++
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, filepath.Join(root, s.file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if lines := files.Position(parsed.FileEnd).Line; lines > mostFileLines {
			t.Errorf("%s has %d lines, more than %d", s.file, lines, mostFileLines)
		}
		for _, declared := range parsed.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := files.Position(function.End()).Line - files.Position(function.Pos()).Line + 1; lines > mostFunctionLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.file, function.Name.Name, lines, mostFunctionLines)
			}
		}
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}

// go install takes a module from the proxy only where its go.mod replaces and
// excludes nothing.
func TestGoInstallTakesTheModule(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^(replace|exclude)\b.*`).Find(text); found != nil {
		t.Errorf("go.mod has %q", found)
	}
}
