package image

import (
	"reflect"
	"strings"
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
		"an archive in place of a version": {
			text: "six @ https://files.example/packages/six-1.16.0-py2.py3-none-any.whl#egg=six \\\n    --hash=sha256:aa01\n" +
				"py-vapid @ https://files.example/py_vapid-1.9.0.post1.tar.gz \\\n    --hash=sha256:aa02\nown @ https://git.example/acme/own/archive/main.zip \\\n    --hash=sha256:aa03\n",
			want: []release.Package{
				{Name: "six", Version: "1.16.0", Hashes: []string{"sha256:aa01"}}, {Name: "py-vapid", Version: "1.9.0.post1", Hashes: []string{"sha256:aa02"}},
				{Name: "own", Version: "main.zip", Hashes: []string{"sha256:aa03"}},
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

func TestMoves(t *testing.T) {
	lock := func(pins ...string) string {
		return strings.Join(pins, " \\\n    --hash=sha256:aa\n") + " \\\n    --hash=sha256:aa\n"
	}
	for name, test := range map[string]struct {
		before, after string
		want          []Move
		error         string
	}{
		"none":                  {lock("a==1", "b==2"), lock("a==1", "b==2"), nil, ""},
		"by name":               {lock("b==1", "a==1", "gone==1"), lock("new==1", "a==2", "b==3"), []Move{{"a", "1", "2"}, {"b", "1", "3"}, {"gone", "1", ""}, {"new", "", "1"}}, ""},
		"the first":             {"", lock("a==1"), []Move{{"a", "", "1"}}, ""},
		"a lock that is none":   {lock("a==1"), "a>=1\n", nil, `resolved packages, line 1: "a>=1" is neither a pinned package nor a hash`},
		"one before that isn't": {"a>=1\n", lock("a==1"), nil, `resolved packages, line 1: "a>=1" is neither a pinned package nor a hash`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Moves(test.before, test.after)
			if message(err) != test.error || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %q; want %+v, %q", got, message(err), test.want, test.error)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
