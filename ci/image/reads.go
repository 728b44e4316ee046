package image

import (
	"encoding/json"
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

// nodeFiles decide which node modules an app has: yarn reads these and no
// others.
var nodeFiles = []string{"package.json", "yarn.lock", ".yarnrc", ".npmrc"}

// readsModules reports whether yarn reads a file: those of the app itself and of
// the front ends one folder below.
func readsModules(p string) bool {
	return strings.Count(p, "/") <= 1 && slices.Contains(nodeFiles, path.Base(p))
}

// readsModules reports whether installing an app's node modules reads a file: what
// yarn reads, patches for modules, and where a script of the app's own runs, all
// that such a script may read.
func (a *app) readsModules() func(string) bool {
	return func(p string) bool {
		return readsModules(p) || modulePatch.MatchString(p) || a.scripted && readsAssets(p)
	}
}

// modulePatch matches the patches of patch-package.
var modulePatch = regexp.MustCompile(`^([^/]+/)?patches/[^/]+\.patch$`)

// runsScripts reports whether installing the modules of a package.json runs more
// than other installations, and tools that read no file of the app but patches.
func runsScripts(description string) bool {
	var described struct{ Scripts map[string]string }
	if json.Unmarshal([]byte(description), &described) != nil {
		return false // yarn says what is wrong with it.
	}
	for _, name := range []string{"preinstall", "install", "postinstall", "prepare"} {
		for _, command := range commandBreak.Split(described.Scripts[name], -1) {
			if command = strings.TrimSpace(command); command != "" && !installer.MatchString(command) {
				return true
			}
		}
	}
	return false
}

var (
	commandBreak = regexp.MustCompile(`&&|\|\||;`)
	installer    = regexp.MustCompile(`^(cd \S+|(yarn|npm)( install| ci)?( -\S+)*|patch-package( --(error-on-fail|error-on-warn|use-yarn|reverse))*|husky( install)?|is-ci|true|exit 0)$`)
)

// pythonOnly are the files that no front end reads. A change in them does not
// build assets again, and they are not there while assets are built.
var pythonOnly = regexp.MustCompile(`\.(py|pyi|po|pot|csv)$|^[^/]+\.md$|(^|/)(patches|modules|requirements)\.txt$|(^|/)(pyproject\.toml|setup\.cfg|MANIFEST\.in)$|^\.git(/|hub/|ignore$|-blame)`)

// readsAssets reports whether building assets may read a file.
func readsAssets(p string) bool { return !pythonOnly.MatchString(p) }

// readsBundles reports whether building an app's bundles may read a file of it:
// the source of its own front end is built by itself.
func (a *app) readsBundles() func(string) bool {
	fronts := a.fronts()
	return func(p string) bool {
		return readsAssets(p) && !slices.ContainsFunc(fronts, func(front string) bool { return strings.HasPrefix(p, front+"/") })
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
