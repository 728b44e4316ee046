package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// pyproject is a pyproject.toml, with what the build has to know of it.
type pyproject struct {
	text string
	// Project is the table [project]. It is nil where there is none: then the
	// file holds only settings of tools, and another file has the requirements.
	Project *requirements
	// BuildSystem is the table [build-system].
	BuildSystem struct{ Requires []string } `toml:"build-system"`
	// frappeDependencies are ranges of versions by app, as bench reads them, and
	// apt the Debian packages that the app needs, as Frappe Cloud does. pip reads
	// neither: in another form they are nothing.
	frappeDependencies map[string]any
	apt                []any
}

// requirements are the table [project], with what an app needs to run.
type requirements struct {
	Name         string
	Dependencies []string
	// Dynamic are the names of what only the back end knows.
	Dynamic []string
	// RequiresPython is the range of versions of Python.
	RequiresPython string `toml:"requires-python"`
}

// parsePyproject reads the text of a pyproject.toml, which may be empty.
func parsePyproject(text string) (pyproject, error) {
	p := pyproject{text: text}
	var tables map[string]any
	err := toml.Unmarshal([]byte(text), &tables)
	if err == nil {
		err = toml.Unmarshal([]byte(text), &p)
	}
	var invalid *toml.DecodeError
	if errors.As(err, &invalid) {
		line, column := invalid.Position()
		return p, fmt.Errorf("read pyproject.toml: line %d, column %d: %w", line, column, err)
	}
	if err != nil {
		return p, fmt.Errorf("read pyproject.toml: %w", err)
	}
	p.frappeDependencies = table(tables, "tool", "bench", "frappe-dependencies")
	p.apt, _ = table(tables, "deploy", "dependencies", "apt")["packages"].([]any)
	// The decoder takes names in any case, and a [project.urls] for a [project].
	if project, _ := tables["project"].(map[string]any); project == nil || len(project) > 0 && onlyTables(project) {
		p.Project = nil
	}
	return p, nil
}

// table returns a table by its path; nil where there is none.
func table(tables map[string]any, path ...string) map[string]any {
	for _, name := range path {
		tables, _ = tables[name].(map[string]any)
	}
	return tables
}

// onlyTables reports whether a table has nothing but tables in it.
func onlyTables(table map[string]any) bool {
	for _, value := range table {
		if _, ok := value.(map[string]any); !ok {
			return false
		}
	}
	return true
}

// static reports whether the file itself says what the app needs to run.
func (p pyproject) static() bool {
	return p.Project != nil && !slices.Contains(p.Project.Dynamic, "dependencies")
}

// dependencies returns what the app needs to run, where the file says it.
func (p pyproject) dependencies() []string {
	if p.Project == nil {
		return nil
	}
	return p.Project.Dependencies
}

// buildRequirements returns what the app is built with, a line each: uv
// resolves only what an app needs to run, and the lock must also fix this.
func (p pyproject) buildRequirements() string {
	var lines strings.Builder
	for _, requirement := range p.BuildSystem.Requires {
		lines.WriteString(requirement + "\n")
	}
	return lines.String()
}
