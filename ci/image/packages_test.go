package image

import (
	"reflect"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestParseRequirements(t *testing.T) {
	for name, test := range map[string]struct {
		text  string
		want  []release.Package
		error string
	}{
		"pins with hashes": {
			text: "# made by uv\nclick==8.1.7 \\\n    --hash=sha256:aa01 \\\n    --hash=sha256:bb02\n" +
				"bleach[css]==6.0.0 ; python_version >= '3.9' \\\n    --hash=sha256:cc03\n",
			want: []release.Package{
				{Name: "click", Version: "8.1.7", Hashes: []string{"sha256:aa01", "sha256:bb02"}},
				{Name: "bleach", Version: "6.0.0", Hashes: []string{"sha256:cc03"}},
			},
		},
		"a commit in place of a version": {
			text: "gunicorn @ git+https://github.com/frappe/gunicorn@bb554053bb87218120d76ab6676af7015680e8b6\nclick==8.1.7 \\\n    --hash=sha256:aa01\n",
			want: []release.Package{
				{Name: "gunicorn", Version: "bb554053bb87218120d76ab6676af7015680e8b6"},
				{Name: "click", Version: "8.1.7", Hashes: []string{"sha256:aa01"}},
			},
		},
		"a branch in place of a version": {
			text:  "gunicorn @ git+https://github.com/frappe/gunicorn@main\n",
			error: `resolved packages, line 1: "gunicorn @ git+https://github.com/frappe/gunicorn@main" is neither a pinned package nor a hash`,
		},
		"nothing": {text: "# empty\n\n"},
		"a range": {
			text:  "click>=8\n",
			error: `resolved packages, line 1: "click>=8" is neither a pinned package nor a hash`,
		},
		"a hash without its package": {
			text:  "--hash=sha256:aa01\n",
			error: `resolved packages, line 1: "--hash=sha256:aa01" is neither a pinned package nor a hash`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRequirements(test.text)
			if message(err) != test.error {
				t.Fatalf("error %q, want %q", message(err), test.error)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestBuildSystem(t *testing.T) {
	for name, test := range map[string]struct{ project, want string }{
		"no table":        {"[project]\nname = \"x\"\n", ""},
		"one":             {"[project]\nname = \"x\"\n\n[build-system]\nrequires = [\"flit_core >=3.4,<4\"]\nbuild-backend = \"flit_core.buildapi\"\n", "flit_core >=3.4,<4\n"},
		"over many lines": {"[build-system]\nrequires = [\n  'setuptools>=61',\n  'wheel', # for old pip\n]\n[tool.x]\nrequires = [\"not this\"]\n", "setuptools>=61\nwheel\n"},
		"table without":   {"[build-system]\nbuild-backend = \"x\"\n[tool.y]\nrequires = [\"not this\"]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := buildSystem(test.project); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWantsNamesTheApps(t *testing.T) {
	apps := []app{
		{App: release.App{Name: "frappe", Ref: "v15.17.3"}, project: "dependencies = [\n  \"redis~=4.5.5\",\n  \"redis-lock==1.0\",\n]\n"},
		{App: release.App{Name: "wiki", Ref: "v2.0.1"}, legacy: "# old\nredis==3.5.3\n"},
		{App: release.App{Name: "payments", Ref: "version-15"}, project: "dependencies = [\"stripe~=2.56.0\"]\n"},
	}
	got := wants("Because you require redis>=4.5.5,<4.6.dev0 and redis==3.5.3, your requirements are unsatisfiable.", apps)
	if want := "frappe v15.17.3 wants redis~=4.5.5, wiki v2.0.1 wants redis==3.5.3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
