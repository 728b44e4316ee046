package image

import "testing"

// project returns a pyproject.toml of a text.
func project(t *testing.T, text string) pyproject {
	t.Helper()
	p, err := parsePyproject(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProjectTable(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"no file":                 {"", false},
		"only tools":              {"[tool.ruff]\nline-length = 110\n", false},
		"a table":                 {"[project]\nname = \"x\"\n", true},
		"an empty one":            {"[project]\n", true},
		"with a comment":          {"[project] # of x\nname = \"x\"\n", true},
		"only a table of it":      {"[project.urls]\nHome = \"https://example.com\"\n", false},
		"with a table of it":      {"[project]\nname = \"x\"\n[project.urls]\nHome = \"https://example.com\"\n", true},
		"in capitals":             {"[Project]\nname = \"x\"\n", false},
		"inside a text":           {"[tool.x]\ntext = \"\"\"\n[project]\n\"\"\"\n", false},
		"one of another's":        {"[tool.project]\nname = \"x\"\n", false},
		"with Windows' line ends": {"[project]\r\nname = \"x\"\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := project(t, test.text).Project != nil; got != test.want {
				t.Errorf("has [project]: %t, want %t", got, test.want)
			}
		})
	}
}

func TestBuildSystem(t *testing.T) {
	for name, test := range map[string]struct{ project, want string }{
		"no table":        {"[project]\nname = \"x\"\n", ""},
		"one":             {"[project]\nname = \"x\"\n\n[build-system]\nrequires = [\"flit_core >=3.4,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n", "flit_core >=3.4,<4\n"},
		"over many lines": {"[build-system]\nrequires = [\n  'setuptools>=61',\n  'wheel', # for old pip\n]\n[tool.x]\nrequires = [\"not this\"]\n", "setuptools>=61\nwheel\n"},
		"quotes inside":   {"[build-system]\nrequires = [\"setuptools>=61; python_version >= '3.8'\", 'tomli; python_version < \"3.11\"']\n", "setuptools>=61; python_version >= '3.8'\ntomli; python_version < \"3.11\"\n"},
		"table without":   {"[build-system]\nbuild-backend = \"x\"\n[tool.y]\nrequires = [\"not this\"]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := project(t, test.project).buildRequirements(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
