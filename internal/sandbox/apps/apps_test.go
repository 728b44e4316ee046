package apps

import (
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

func requireGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
}

func write(t *testing.T) Repositories {
	t.Helper()
	requireGit(t)
	repositories, err := Write(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return repositories
}

func TestWriteIsTheSameEveryTime(t *testing.T) {
	first, second := write(t), write(t)
	for i := range first {
		if !maps.Equal(first[i].Tags, second[i].Tags) || !maps.Equal(first[i].Branches, second[i].Branches) {
			t.Errorf("%s/%s: %v %v, then %v %v", first[i].Owner, first[i].Name,
				first[i].Branches, first[i].Tags, second[i].Branches, second[i].Tags)
		}
	}
}

func TestWriteReplacesWhatIsThere(t *testing.T) {
	requireGit(t)
	root := t.TempDir()
	for range 2 {
		if _, err := Write(t.Context(), root); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteEndsWhenCancelled(t *testing.T) {
	requireGit(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, t.TempDir()); err == nil || !strings.Contains(err.Error(), "write repository frappe/frappe") {
		t.Errorf("got %v", err)
	}
}

func TestRepositories(t *testing.T) {
	repositories := write(t)
	tests := []struct {
		owner, name string
		private     bool
		branch      string
		tags        []string
	}{
		{"frappe", "frappe", false, "version-15", []string{"v15.1.0", "v15.1.1"}},
		{"frappe", "erpnext", false, "version-15", []string{"v15.1.0", "v15.1.1", "v15.1.2", "v15.1.3"}},
		{"frappe", "hrms", false, "version-15", []string{"v15.1.0"}},
		{"frappe", "payments", false, "version-15", nil},
		{"frappe", "misfit", false, "main", []string{"v1.0.0", "v1.0.1"}},
		{"desiredeffect", "de_macrs", true, "main", []string{"v0.0.4"}},
		{"desiredeffect", "de_customs", true, "main", []string{"v0.0.5"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, ok := repositories.Find(test.name)
			if !ok {
				t.Fatalf("not written")
			}
			if r.Owner != test.owner || r.Private != test.private {
				t.Errorf("owner %s, private %t", r.Owner, r.Private)
			}
			if got := slices.Sorted(maps.Keys(r.Tags)); !slices.Equal(got, test.tags) {
				t.Errorf("tags %v, want %v", got, test.tags)
			}
			if got := slices.Sorted(maps.Keys(r.Branches)); !slices.Equal(got, []string{test.branch}) {
				t.Errorf("branches %v, want %s", got, test.branch)
			}
			for tag, sha := range r.Tags {
				kind, err := git(t.Context(), r.Dir, nil, "cat-file", "-t", sha)
				if err != nil || kind != "commit\n" {
					t.Errorf("%s: %q is a %q, %v", tag, sha, kind, err)
				}
				// A version is what its app says it is.
				content, err := git(t.Context(), r.Dir, nil, "show", sha+":"+r.Name+"/__init__.py")
				if want := "__version__ = \"" + strings.TrimPrefix(tag, "v") + "\""; err != nil || !strings.Contains(content, want) {
					t.Errorf("%s: %v, no line %s in\n%s", tag, err, want, content)
				}
			}
			if head, err := git(t.Context(), r.Dir, nil, "symbolic-ref", "--short", "HEAD"); err != nil || head != test.branch+"\n" {
				t.Errorf("HEAD is %q, %v", head, err)
			}
		})
	}
}

func TestBrokenVersionsAreOffTheBranch(t *testing.T) {
	erpnext, _ := write(t).Find("erpnext")
	if erpnext.Branches["version-15"] != erpnext.Tags["v15.1.1"] {
		t.Errorf("the branch is at %s, v15.1.1 at %s", erpnext.Branches["version-15"], erpnext.Tags["v15.1.1"])
	}
	for _, tag := range []string{"v15.1.2", "v15.1.3"} {
		parent, err := git(t.Context(), erpnext.Dir, nil, "rev-parse", tag+"^")
		if err != nil || strings.TrimSpace(parent) != erpnext.Tags["v15.1.1"] {
			t.Errorf("parent of %s is %s, %v", tag, parent, err)
		}
	}
}

func TestAppsJSON(t *testing.T) {
	const want = `[
  {
    "url": "http://127.0.0.1:8080/git/frappe/frappe",
    "branch": "v15.1.1"
  },
  {
    "url": "http://127.0.0.1:8080/git/frappe/erpnext",
    "branch": "v15.1.2"
  },
  {
    "url": "http://127.0.0.1:8080/git/frappe/hrms",
    "branch": "v15.1.0"
  },
  {
    "url": "http://127.0.0.1:8080/git/frappe/payments",
    "branch": "version-15"
  },
  {
    "url": "http://${DE_MACRS_PAT}@127.0.0.1:8080/git/desiredeffect/de_macrs",
    "branch": "v0.0.4"
  },
  {
    "url": "http://${DE_MACRS_PAT}@127.0.0.1:8080/git/desiredeffect/de_customs",
    "branch": "v0.0.5"
  },
  {
    "url": "http://127.0.0.1:8080/git/frappe/misfit",
    "branch": "v1.0.0"
  }
]
`
	got, err := Version2().With("erpnext", "v15.1.2").With("misfit", "v1.0.0").AppsJSON("http://127.0.0.1:8080/git/")
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s", err, got)
	}
}

// Every ref that a selection names must be there.
func TestSelectionsAreWritten(t *testing.T) {
	repositories := write(t)
	for name, selection := range map[string]Selection{"version 1": Version1(), "version 2": Version2()} {
		for _, ref := range selection {
			r, ok := repositories.Find(ref.Name)
			if !ok || r.Owner != ref.Owner || r.Private != ref.Private {
				t.Errorf("%s: no repository as in %+v", name, ref)
			}
			if r.Tags[ref.Ref] == "" && r.Branches[ref.Ref] == "" {
				t.Errorf("%s: %s has no ref %s", name, ref.Name, ref.Ref)
			}
		}
	}
}

func TestJSONFilesParse(t *testing.T) {
	err := fs.WalkDir(tree, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".json" {
			return err
		}
		content, err := tree.ReadFile(name)
		if err == nil && !json.Valid(content) {
			t.Errorf("%s is not JSON:\n%s", name, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
