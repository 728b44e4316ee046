package image

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
)

// entry is a file in a key.
type entry struct{ Path, Mode, Blob string }

// entries are the files of an app that a stage reads, for its key: git names
// their contents, so nothing has to be fetched to know whether they changed.
func entries(files []apps.File, reads func(path string) bool) []entry {
	var found []entry
	for _, f := range files {
		if reads(f.Path) {
			found = append(found, entry{f.Path, f.Mode, f.Blob})
		}
	}
	return found
}

// only leaves out of a folder all files but these.
func only(reads []entry) dagger.DirectoryWithDirectoryOpts {
	var opts dagger.DirectoryWithDirectoryOpts
	for _, e := range reads {
		opts.Include = append(opts.Include, literally.Replace(e.Path))
	}
	return opts
}

// literally takes from a path what would mean something in a pattern.
var literally = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `!`, `\!`)

// nodeFiles decide which node modules an app has: managers read these, and of a folder
// .yarn what they were told to keep there.
var nodeFiles = append([]string{"package.json", ".npmrc", ".yarnrc", ".yarnrc.yml", pnpmWorkspace, ".pnpmfile.cjs"}, locks...)

// yarnKeeps matches what a yarn after the first keeps beside package.json.
var yarnKeeps = regexp.MustCompile(`(^|/)\.yarn/(patches|plugins|releases|versions|cache)/`)

// readsModules reports whether a manager reads a file: those of the app itself and of
// its front ends and workspaces, wherever they lie, but not what is served as it is.
func (a *app) readsModules(p string) bool {
	if strings.HasPrefix(p, a.Name+"/public/") || strings.HasPrefix(p, "node_modules/") || strings.Contains(p, "/node_modules/") {
		return false
	}
	return slices.Contains(nodeFiles, path.Base(p)) || yarnKeeps.MatchString(p)
}

// readsInstall reports whether installing an app's node modules reads a file: what
// managers read, patches for modules, what is copied among the modules, and where a
// script of the app's own runs, all that such a script may read.
func (a *app) readsInstall(p string) bool {
	return a.readsModules(p) || modulePatch.MatchString(p) || a.node.scripted && readsAssets(p) ||
		slices.ContainsFunc(a.node.copied, func(copied string) bool { return within(p, copied) })
}

// within reports whether a path is a folder, or below it; "." has all but what is outside.
func within(p, folder string) bool {
	if folder == "." {
		return p != ".." && !strings.HasPrefix(p, "../")
	}
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// modulePatch matches the patches of patch-package and of managers.
var modulePatch = regexp.MustCompile(`\.patch$`)

// pythonOnly are the files that no front end reads. A change in them does not
// build assets again, and they are not there while assets are built.
var pythonOnly = regexp.MustCompile(`\.(py|pyi|po|pot|csv)$|^[^/]+\.md$|(^|/)(patches|modules|requirements)\.txt$|(^|/)(pyproject\.toml|setup\.cfg|MANIFEST\.in)$|^\.git(/|hub/|ignore$|-blame)`)

// readsAssets reports whether building assets may read a file.
func readsAssets(p string) bool { return !pythonOnly.MatchString(p) }

// readsBundles reports whether building an app's bundles may read a file of it:
// the source of its own front ends is built by itself, unless the reader links to it.
func (a *app) readsBundles(linked ...string) func(string) bool {
	// A link to a folder of one brings all of it.
	fronts := slices.DeleteFunc(a.fronts(), func(front string) bool {
		return slices.ContainsFunc(linked, func(folder string) bool { return within(front, folder) || within(folder, front) })
	})
	return func(p string) bool {
		return readsAssets(p) && !slices.ContainsFunc(fronts, func(front string) bool { return within(p, front) })
	}
}

// readsLink reports whether installing an app editable reads a file: what
// describes the package, and which top-level packages there are.
func readsLink(name string) func(string) bool {
	return func(p string) bool {
		return !strings.Contains(p, "/") && !strings.HasPrefix(p, ".") || p == name+"/__init__.py"
	}
}

// notMetadata are the folders of an app that no back end reads to tell what the app
// needs to run. Of the rest setup.py may read anything.
var notMetadata = []string{".github", "node_modules", "*/node_modules", "*/public"}

// readsMetadata reports whether a back end may read a file.
func readsMetadata(p string) bool {
	parts := strings.SplitN(p, "/", 3)
	for depth, pattern := range []string{parts[0], strings.Join(parts[:min(2, len(parts)-1)], "/")} {
		for _, not := range notMetadata {
			if matched, _ := path.Match(not, pattern); matched && len(parts) > depth+1 {
				return false
			}
		}
	}
	return true
}

// topPackages are the top-level Python packages of an app: setuptools links
// each by its name.
func topPackages(files []apps.File) []string {
	var found []string
	for _, f := range files {
		if strings.Count(f.Path, "/") == 1 && path.Base(f.Path) == "__init__.py" {
			found = append(found, path.Dir(f.Path))
		}
	}
	return found
}
