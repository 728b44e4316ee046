package apps_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/github/githubtest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// everyKind is a commit with one entry of each kind.
var everyKind = []githubtest.Entry{
	{Path: "setup.py", Text: "print()\n"},
	{Path: "app/hooks.py", Text: "app_name = \"app\"\n"},
	{Path: "app/public/js/app.bundle.js", Text: "\x00\xff\r\n"},
	{Path: "app/public/js/deep/er/empty", Text: ""},
	{Path: "app.txt", Text: "é\n"},
	{Path: "bin/run", Mode: "100755", Text: "#!/bin/sh\n"},
	{Path: "latest", Mode: "120000", Text: "app/public"},
	{Path: "vendor/module", Mode: "160000", Text: "0123456789012345678901234567890123456789"},
}

// shownEntries is what Tree has to make of everyKind.
func shownEntries() []string {
	var shown []string
	for _, e := range everyKind {
		if e.Mode == "160000" {
			continue
		}
		mode := "100644"
		if e.Mode != "" {
			mode = e.Mode
		}
		shown = append(shown, fmt.Sprintf("%s %s %x %d", e.Path, mode, sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(e.Text), e.Text)), len(e.Text)))
	}
	slices.Sort(shown)
	return shown
}

func shownFiles(files []apps.File) []string {
	var shown []string
	for _, f := range files {
		shown = append(shown, fmt.Sprintf("%s %s %s %d", f.Path, f.Mode, f.Blob, f.Size))
	}
	return shown
}

// oneApp is a stand-in with the repository acme/app, whose commit has an entry
// of every kind.
func oneApp(t *testing.T, opts github.Options) (w *world, commit string) {
	t.Helper()
	opts.Root = t.TempDir()
	w = &world{root: opts.Root, server: githubtest.Start(t, opts)}
	return w, githubtest.New(t, w.root, "acme/app").CommitEntries("main", everyKind...)
}

// asked returns the requests since the last n, without what they have in common.
func (w *world) asked(n int) []string {
	var asked []string
	for _, r := range w.server.Requests()[n:] {
		asked = append(asked, fmt.Sprintf("%s %d", strings.TrimPrefix(r.Path, "/api/v3/repos/"), r.Status))
	}
	return asked
}

func TestTree(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit int
		// requests is how many are made.
		requests int
	}{
		{"in one request", 0, 1},
		// The root twice, and each of its three folders.
		{"with a truncated root", 10, 5},
		// The same for app, which has app/public below.
		{"with truncated folders", 5, 7},
		// The five folders above app/public/js/deep/er twice; that one, bin and
		// vendor once.
		{"with every folder truncated", 1, 13},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, commit := oneApp(t, github.Options{TreeLimit: test.limit})
			source := w.sources(t, nil, "acme/app main")[0]
			for _, name := range []string{commit, strings.ToUpper(commit)} {
				before := len(w.server.Requests())
				files, err := w.resolver(t, apps.GitHubOptions{}).Tree(t.Context(), source, name)
				if err != nil {
					t.Fatal(err)
				}
				equalLines(t, shownFiles(files), shownEntries())
				if asked := w.asked(before); len(asked) != test.requests {
					t.Errorf("%d requests, want %d:\n%s", len(asked), test.requests, strings.Join(asked, "\n"))
				}
			}
		})
	}
}

func TestRead(t *testing.T) {
	w, commit := oneApp(t, github.Options{})
	source := w.sources(t, nil, "acme/app main")[0]
	reader := w.resolver(t, apps.GitHubOptions{})
	files, err := reader.Tree(t.Context(), source, commit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range everyKind {
		at := slices.IndexFunc(files, func(f apps.File) bool { return f.Path == e.Path })
		if at < 0 {
			continue
		}
		if got, err := reader.Read(t.Context(), source, files[at]); err != nil || !slices.Equal(got, []string{e.Text}) {
			t.Errorf("%s: got %q, %v; want %q", e.Path, got, err, e.Text)
		}
	}
}

// read returns the list of files and the content of setup.py.
func read(ctx context.Context, g *apps.GitHub, s apps.Source, commit string) (files []string, text string, err error) {
	tree, err := g.Tree(ctx, s, commit)
	if err != nil {
		return nil, "", err
	}
	at := slices.IndexFunc(tree, func(f apps.File) bool { return f.Path == "setup.py" })
	if at < 0 {
		return shownFiles(tree), "", errors.New("setup.py is not listed")
	}
	texts, err := g.Read(ctx, s, tree[at])
	return shownFiles(tree), strings.Join(texts, ""), err
}

func TestFilesAreKept(t *testing.T) {
	w, commit := oneApp(t, github.Options{})
	fork := githubtest.New(t, w.root, "acme/fork").CommitEntries("main", everyKind...)
	sources := w.sources(t, nil, "acme/app main", "acme/fork main")
	// The SHA-1 is that of setup.py, as git hash-object gives it.
	tree, blob := "acme/app/git/trees/"+commit+" 200", "acme/app/git/blobs/aec92917403fe09d962fb43a3bcef0ae21f4c217 200"
	dir := filepath.Join(t.TempDir(), "made", "by us")
	// damage changes every entry of one kind.
	damage := func(kind string, change func([]byte) []byte) {
		entries, err := filepath.Glob(filepath.Join(dir, kind, "*"))
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s are not kept: %v, %v", kind, entries, err)
		}
		for _, entry := range entries {
			text, err := os.ReadFile(entry)
			if err == nil {
				err = os.WriteFile(entry, change(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		before func()
		source apps.Source
		dir    string
		asked  []string
	}{
		{"the first time", nil, sources[0], dir, []string{tree, blob}},
		{"the second time", nil, sources[0], dir, nil},
		{"without a cache", nil, sources[0], "", []string{tree, blob}},
		{"by another spelling", nil, func() apps.Source { s := sources[0]; s.Owner = "ACME"; return s }(), dir, nil},
		{"the same in another repository", nil, sources[1], dir, []string{"acme/fork/git/trees/" + fork + " 200"}},
		{"a list cut off", func() { damage("trees", func(b []byte) []byte { return b[:len(b)-30] }) }, sources[0], dir, []string{tree}},
		{"a list emptied", func() { damage("trees", func([]byte) []byte { return nil }) }, sources[0], dir, []string{tree}},
		{"a list that lacks a file", func() { damage("trees", func(b []byte) []byte { return append(b[:65:65], "[]"...) }) }, sources[0], dir, []string{tree}},
		{"a content changed", func() { damage("blobs", func(b []byte) []byte { return append(b, "x"...) }) }, sources[0], dir, []string{blob}},
		{"all mended", nil, sources[0], dir, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.before != nil {
				test.before()
			}
			of := commit
			if test.source.Repo == "fork" {
				of = fork
			}
			before := len(w.server.Requests())
			// Another process has another one.
			files, text, err := read(t.Context(), w.resolver(t, apps.GitHubOptions{CacheDir: test.dir}), test.source, of)
			if err != nil {
				t.Fatal(err)
			}
			equalLines(t, files, shownEntries())
			if text != "print()\n" {
				t.Errorf("setup.py is %q", text)
			}
			equalLines(t, w.asked(before), test.asked)
		})
	}
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has %s, want its owner only", path, info.Mode())
		}
		if strings.Contains(path, "partial") {
			t.Errorf("%s was left behind", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCacheThatCantBeWritten(t *testing.T) {
	w, commit := oneApp(t, github.Options{})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, text, err := read(t.Context(), w.resolver(t, apps.GitHubOptions{CacheDir: file}), w.sources(t, nil, "acme/app main")[0], commit)
	if err != nil || text != "print()\n" {
		t.Errorf("got %q, %v; want the content", text, err)
	}
}

// TestFilesFailAsRefsDo: a token that may not resolve a ref may not read a
// commit, and the problem is the same.
func TestFilesFailAsRefsDo(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name   string
		env    map[string]string
		opts   apps.GitHubOptions
		source string
		want   []string
	}{
		{"a private repository without a token", nil, apps.GitHubOptions{}, "desiredeffect/de_macrs v0.0.4", []string{
			"✗ apps.json:2: de_macrs: desiredeffect/de_macrs is private or does not exist", "  fix: check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/desiredeffect/de_macrs"}},
		{"a token that lacks the repository", map[string]string{"PAT": "other-token"}, apps.GitHubOptions{}, "desiredeffect/de_macrs v0.0.4 PAT", []string{
			"✗ apps.json:2: de_macrs: desiredeffect/de_macrs does not exist, or the token PAT may not read it",
			"  fix: check the name; give PAT access to desiredeffect/de_macrs: a fine-grained token needs the repository selected and Contents: Read, a classic one the scope repo"}},
		{"a wrong token", map[string]string{"PAT": "wrong"}, apps.GitHubOptions{}, "desiredeffect/de_macrs v0.0.4 PAT", []string{
			"✗ PAT: API refuses the token: it is wrong, expired or withdrawn", "  fix: make a new token on GitHub and put it into PAT"}},
		{"a wrong common token", nil, apps.GitHubOptions{Token: secret.New("wrong")}, "frappe/hrms v15.13.1", []string{
			"✗ GITHUB_TOKEN: API refuses the token: it is wrong, expired or withdrawn", "  fix: make a new token on GitHub and put it into GITHUB_TOKEN"}},
		{"a missing repository", nil, apps.GitHubOptions{}, "frappe/hrms2 v1", []string{
			"✗ apps.json:2: hrms2: frappe/hrms2 is private or does not exist", "  fix: check the name; if it is private, put a token placeholder into the url: https://${NAME}@HOST/frappe/hrms2"}},
		{"an empty repository", nil, apps.GitHubOptions{}, "desiredeffect/empty main", []string{
			"✗ apps.json:2: empty: desiredeffect/empty has no commits", "  fix: push to it, or name another repository"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := w.sources(t, test.env, test.source)[0]
			g := w.resolver(t, test.opts)
			commit := strings.Repeat("0", 40)
			_, resolving := g.ResolveRef(t.Context(), source)
			_, listing := g.Tree(t.Context(), source, commit)
			_, reading := g.Read(t.Context(), source, apps.File{Path: "setup.py", Blob: commit})
			for _, err := range []error{resolving, listing, reading} {
				equalLines(t, w.local(problemLines(t, err)), test.want)
			}
		})
	}
}

// problemLines renders an error that has to be a problem.
func problemLines(t *testing.T, err error) []string {
	t.Helper()
	var found problem.Problem
	if !errors.As(err, &found) {
		t.Fatalf("got %v, want a problem", err)
	}
	return rendered(t, problem.Report{found})
}

func TestFilesThatAreNotThere(t *testing.T) {
	w, commit := oneApp(t, github.Options{})
	source := w.sources(t, nil, "acme/app main")[0]
	none := strings.Repeat("0", 40)
	g := w.resolver(t, apps.GitHubOptions{CacheDir: t.TempDir()})
	_, err := g.Tree(t.Context(), source, none)
	equalLines(t, problemLines(t, err), []string{"✗ apps.json:2: app: acme/app has no commit " + none, "  fix: try again: the ref may have been moved meanwhile"})
	_, err = g.Read(t.Context(), source, apps.File{Path: "setup.py", Blob: none})
	equalLines(t, problemLines(t, err), []string{"✗ apps.json:2: app: acme/app no longer has the content " + none + ` of "setup.py"`, "  fix: try again: the ref may have been moved meanwhile"})
	// Names that may come to mean something else are never asked for.
	before := len(w.server.Requests())
	for _, name := range []string{"main", "", commit[:12], "../" + commit} {
		if _, err := g.Tree(t.Context(), source, name); fmt.Sprint(err) != fmt.Sprintf("list files of acme/app: %q is no full commit", name) {
			t.Errorf("Tree of %q: %v", name, err)
		}
		if _, err := g.Read(t.Context(), source, apps.File{Path: "setup.py", Blob: name}); fmt.Sprint(err) != fmt.Sprintf("read setup.py of acme/app: %q is no SHA-1", name) {
			t.Errorf("Read of %q: %v", name, err)
		}
	}
	equalLines(t, w.asked(before), nil)
}

func TestReadingEndsWithItsContext(t *testing.T) {
	w, commit := oneApp(t, github.Options{TreeLimit: 1})
	source := w.sources(t, nil, "acme/app main")[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := w.resolver(t, apps.GitHubOptions{})
	if _, err := g.Tree(ctx, source, commit); !errors.Is(err, context.Canceled) {
		t.Errorf("Tree: %v, want that it was cancelled", err)
	}
	if _, err := g.Read(ctx, source, apps.File{Path: "setup.py", Blob: commit}); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v, want that it was cancelled", err)
	}
}
