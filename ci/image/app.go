package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Reader tells what a commit holds before anything is fetched.
type Reader interface {
	// Tree lists the files of an app's commit.
	Tree(ctx context.Context, app release.App) ([]apps.File, error)
	// Read returns the contents of some of them, in their order.
	Read(ctx context.Context, app release.App, files ...apps.File) ([]string, error)
}

// app is an app with what the graph has to know of it.
type app struct {
	release.App
	files   []apps.File
	project pyproject
	// legacy is the text of requirements.txt where pyproject.toml does not say
	// what the app needs: files like setup.py mostly read it.
	legacy string
	// hooks is the text of the package's hooks.py.
	hooks string
	node  nodeApp
	// requires are the apps that hooks.py asks for.
	requires []string
	// fetch is the stage with the app's source, once it is asked for.
	fetch *stage
}

// survey reads what the graph has to know of all apps, side by side. Each
// app's own problems are collected, so that a release with three bad apps
// names all three.
func survey(ctx context.Context, reader Reader, list []release.App) ([]app, error) {
	out := make([]app, len(list))
	errs := make([]error, len(list))
	var side errgroup.Group
	for i, one := range list {
		side.Go(func() error {
			out[i], errs[i] = surveyOne(ctx, reader, one)
			return nil
		})
	}
	_ = side.Wait()
	var report problem.Report
	for i, err := range errs {
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var found problem.Problem
		if errors.As(err, &found) {
			report.Add(found)
			continue
		}
		report.Add(problem.Problem{
			Code: "image.app", Subject: list[i].Name + " " + list[i].Ref, Detail: err.Error(), Err: err,
			Remedy: "name a ref in apps.json at which the repository is a Frappe app",
		})
	}
	return out, report.Err()
}

func surveyOne(ctx context.Context, reader Reader, one release.App) (app, error) {
	a := app{App: one}
	var err error
	if a.files, err = reader.Tree(ctx, one); err != nil {
		return a, err
	}
	if a.Name, err = packageOf(one.URL, a.files); err != nil {
		return a, err
	}
	wanted := []string{a.Name + "/__init__.py", a.Name + "/hooks.py", "pyproject.toml", "requirements.txt"}
	files := slices.DeleteFunc(slices.Clone(a.files), func(f apps.File) bool { return !slices.Contains(wanted, f.Path) && !a.describesModules(f.Path) })
	texts, err := reader.Read(ctx, one, files...)
	if err != nil {
		return a, err
	}
	byPath, nodeTexts := map[string]string{}, map[string]string{}
	for i, f := range files {
		byPath[f.Path] = texts[i]
		if a.describesModules(f.Path) {
			nodeTexts[f.Path] = texts[i]
		}
	}
	a.hooks, a.legacy = byPath[a.Name+"/hooks.py"], byPath["requirements.txt"]
	if a.Version = versionOf(byPath[a.Name+"/__init__.py"]); a.Version == "" {
		return a, fmt.Errorf("no __version__ in %s/__init__.py", a.Name)
	}
	if a.project, err = parsePyproject(byPath["pyproject.toml"]); err != nil {
		return a, err
	}
	if a.project.static() {
		a.legacy = ""
	}
	a.requires = requiredApps(a.hooks)
	return a, a.surveyNode(nodeTexts)
}

// packageOf returns the package of an app: the folder that has hooks.py.
func packageOf(repository string, files []apps.File) (string, error) {
	var packages []string
	for _, f := range files {
		if strings.Count(f.Path, "/") == 1 && path.Base(f.Path) == "hooks.py" {
			packages = append(packages, path.Dir(f.Path))
		}
	}
	if len(packages) != 1 {
		return "", fmt.Errorf("%d packages with a hooks.py in %s, where a Frappe app has one", len(packages), repository)
	}
	// It becomes part of scripts.
	if !packageName.MatchString(packages[0]) {
		return "", fmt.Errorf("the folder %q can't be a Python package", packages[0])
	}
	return packages[0], nil
}

var packageName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// versionOf returns the version in the text of a package's __init__.py; nothing where
// there is none.
func versionOf(text string) string {
	match := versionLine.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return match[1]
}

var versionLine = regexp.MustCompile(`(?m)^__version__\s*=\s*["']([^"']+)["']`)

// has reports whether the app has a file.
func (a *app) has(p string) bool {
	return slices.ContainsFunc(a.files, func(f apps.File) bool { return f.Path == p })
}

// hasFolder reports whether the app has files below a folder.
func (a *app) hasFolder(folder string) bool {
	for _, f := range a.files {
		if strings.HasPrefix(f.Path, folder+"/") {
			return true
		}
	}
	return false
}

// dir is where the app lies in the bench.
func (a *app) dir() string { return benchDir + "/apps/" + a.Name }

// Requires are the apps that an app's hooks.py asks for.
func (b *Builder) Requires(name string) []string {
	for _, a := range b.apps {
		if a.Name == name {
			return a.requires
		}
	}
	return nil
}

// fronts are the folders of an app, by their path in it, with the source of a
// front end of its own: those with a package.json besides the root and Python
// packages, unless others import them by name.
func (a *app) fronts() []string {
	python := topPackages(a.files)
	var found []string
	for _, folder := range a.nodeFolders() {
		front := path.Dir(folder)
		top, _, _ := strings.Cut(front, "/")
		if front != "." && !slices.Contains(python, top) && !slices.Contains(a.node.imported, front) {
			found = append(found, front)
		}
	}
	return found
}

// nodeFolders are the folders of an app, by their path in it, that may have
// node modules.
func (a *app) nodeFolders() []string {
	folders := map[string]bool{}
	for _, f := range a.files {
		if path.Base(f.Path) == "package.json" && a.readsModules(f.Path) {
			folders[path.Join(path.Dir(f.Path), "node_modules")] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

// servesModules reports whether an app's node modules belong into the image:
// frappe's do, because its websocket server runs on them, and those of an app
// whose hooks name files in them.
func (a *app) servesModules() bool {
	return a.Name == "frappe" || strings.Contains(a.hooks, "assets/"+a.Name+"/node_modules")
}

// bundle matches what frappe's esbuild takes for an entry point.
var bundle = regexp.MustCompile(`\.bundle\.(js|ts|css|sass|scss|less|styl|jsx)$`)

// bundles reports whether the app has anything for frappe's esbuild.
func (a *app) bundles() bool {
	return slices.ContainsFunc(a.files, func(f apps.File) bool {
		return strings.HasPrefix(f.Path, a.Name+"/public/") && bundle.MatchString(f.Path)
	})
}
