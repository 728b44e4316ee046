// Package apps holds small Frappe apps, written for this project, that a
// release pipeline cannot tell from the real ones: the fixture frappe
// understands the bench command's calls, keeps its sites in a real MariaDB and
// its jobs in a real Redis, and bundles assets with esbuild. Broken ones are
// among them, so that a release can be seen to fail in every way that matters.
//
// The apps lie in tree/APP/VERSION. The first version of an app is whole, a
// later one holds only the files in which it differs from its parent.
package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Ref is an app at a branch, tag or commit.
type Ref struct {
	Owner, Name string
	Ref         string
	// Private says that cloning the app needs a token.
	Private bool
}

// Selection is what goes into one release: frappe first, then the apps in the
// order of their installation.
type Selection []Ref

// Version1 is the selection that the demo starts from.
func Version1() Selection {
	return Selection{
		{Owner: "frappe", Name: "frappe", Ref: "v15.1.0"},
		{Owner: "frappe", Name: "erpnext", Ref: "v15.1.0"},
		{Owner: "frappe", Name: "hrms", Ref: "v15.1.0"},
		{Owner: "frappe", Name: "payments", Ref: "version-15"},
		{Owner: "desiredeffect", Name: "de_macrs", Ref: "v0.0.4", Private: true},
		{Owner: "desiredeffect", Name: "de_customs", Ref: "v0.0.5", Private: true},
	}
}

// Version2 is the selection that the demo releases over [Version1]: a newer
// frappe, whose style sheet differs, and a newer erpnext, which brings a
// column, a patch that fills it and another script.
func Version2() Selection {
	return Version1().With("frappe", "v15.1.1").With("erpnext", "v15.1.1")
}

// ParseSelection reads a selection of public apps, written as OWNER/NAME=REF,…
// with frappe first.
func ParseSelection(text string) (Selection, error) {
	var s Selection
	for _, item := range strings.Split(text, ",") {
		path, ref, refFound := strings.Cut(item, "=")
		owner, name, nameFound := strings.Cut(path, "/")
		if !refFound || !nameFound || owner == "" || name == "" || ref == "" {
			return nil, fmt.Errorf("%q is not of the form OWNER/NAME=REF", item)
		}
		s = append(s, Ref{Owner: owner, Name: name, Ref: ref})
	}
	return s, nil
}

// FrappeInit returns the text of frappe/__init__.py, which has its version, at the
// selection's ref, out of a folder of bare repositories.
func (s Selection) FrappeInit(ctx context.Context, repositories string) (string, error) {
	frappe := s[0]
	dir := filepath.Join(repositories, frappe.Owner, frappe.Name+".git")
	out, err := exec.CommandContext(ctx, "git", "--git-dir", dir, "show", frappe.Ref+":frappe/__init__.py").Output()
	if err != nil {
		return "", fmt.Errorf("read frappe/__init__.py at %s of %s: %w", frappe.Ref, dir, err)
	}
	return string(out), nil
}

// With returns the selection with an app at another ref. An app that is not
// among its refs is appended, as a public one of frappe's.
func (s Selection) With(name, ref string) Selection {
	s = slices.Clone(s)
	at := slices.IndexFunc(s, func(r Ref) bool { return r.Name == name })
	if at < 0 {
		return append(s, Ref{Owner: "frappe", Name: name, Ref: ref})
	}
	s[at].Ref = ref
	return s
}

// AppsJSON renders the selection as an apps.json whose repositories are under
// base, for instance "http://127.0.0.1:8080". The addresses of private ones
// carry the placeholder ${DE_MACRS_PAT}.
func (s Selection) AppsJSON(base string) ([]byte, error) {
	server, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("parse base address: %w", err)
	}
	type app struct {
		URL    string `json:"url"`
		Branch string `json:"branch"`
	}
	apps := make([]app, len(s))
	for i, ref := range s {
		user := ""
		if ref.Private {
			// Not through url.User, which would escape the placeholder.
			user = "${DE_MACRS_PAT}@"
		}
		apps[i] = app{
			URL:    fmt.Sprintf("%s://%s%s", server.Scheme, user, server.Host+path.Join("/", server.Path, ref.Owner, ref.Name)),
			Branch: ref.Ref,
		}
	}
	out, err := json.MarshalIndent(apps, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render apps.json: %w", err)
	}
	return append(out, '\n'), nil
}
