package image

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// nodeApp is what an app says of its node modules and front ends.
type nodeApp struct {
	// builds says that package.json tells how to build a front end of the app's own.
	// frappe's tells how to build the bundles of all.
	builds bool
	// engine is the range of versions of Node that package.json asks for.
	engine string
	// gitModules are the lines of lock files with modules that are fetched with git;
	// scripted says that installing modules runs scripts of the app's own.
	gitModules string
	scripted   bool
	// installs says that the build of a front end may install modules itself.
	installs bool
	// registries are those that it asks for modules.
	registries ownRegistries
	// manager installs the modules of the root. own are those that have to be installed
	// themselves, by the folder: for the root, or a front end with a lock of its own.
	manager manager
	own     map[string]manager
	// named says that a package.json names a manager, maybe another than its lock does.
	named bool
	// links are the folders of other apps that the app's own front ends read.
	links []link
	// copied are the files and folders of the app that are copied among its modules.
	copied []string
	// imported are the folders of front ends that others import by name.
	imported []string
}

// link is a folder of another app.
type link struct {
	// from is the file that asks for it, says how it does.
	from, says string
	// app is the other app, and folder the folder in it; no app means that it is none
	// of a bench.
	app, folder string
}

// missing says what is not there, where other is the app that was found; nil for none.
func (l link) missing(other *app) string {
	switch {
	case l.app == "":
		return "which is in no app of a bench"
	case other == nil:
		return "and the app " + l.app + " is not there"
	}
	return "and " + other.Name + " " + other.Ref + " has no folder " + l.folder
}

// nodePackage is a package.json.
type nodePackage struct {
	folder         string
	Name           string
	Scripts        map[string]string
	PackageManager string
	// Engines was a list once.
	Engines json.RawMessage
	// Workspaces are a list, or an object with one.
	Workspaces json.RawMessage

	Dependencies, DevDependencies, OptionalDependencies, Resolutions map[string]string
	// Pnpm and Overrides are of pnpm and npm alone; the last may hold others below itself.
	Pnpm, Overrides json.RawMessage
	// replaced are the overrides that its manager reads.
	replaced []override
}

// describesModules reports whether a file that a manager reads says which node modules
// an app has, what runs when they are installed, and where they are from.
func (a *app) describesModules(p string) bool {
	return a.readsModules(p) && (path.Base(p) == "package.json" || path.Base(p) == pnpmWorkspace || slices.Contains(locks, path.Base(p)) || slices.Contains(managerConfigs, path.Base(p)))
}

// surveyNode reads what the graph has to know of an app's node modules. The texts are
// those of the files that describe them, by their path.
func (a *app) surveyNode(texts map[string]string) error {
	a.node = nodeApp{manager: yarn1, own: map[string]manager{}}
	var packages []nodePackage
	// The root first: what it needs goes before what others need.
	names := slices.SortedFunc(maps.Keys(texts), func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Count(a, "/"), strings.Count(b, "/")), cmp.Compare(a, b))
	})
	for _, p := range names {
		if path.Base(p) != "package.json" {
			a.node.gitModules += strings.Join(gitModule.FindAllString(texts[p], -1), "\n")
			continue
		}
		described := nodePackage{folder: path.Dir(p)}
		if err := json.Unmarshal([]byte(texts[p]), &described); err != nil {
			if p == "package.json" {
				return fmt.Errorf("read package.json: %w", err)
			}
			continue // Its manager says what is wrong with it, if that matters.
		}
		by, itself := a.readManager(described, texts)
		if itself {
			described.replaced = described.overrides(by, texts)
		}
		packages = append(packages, described)
		a.node.scripted = a.node.scripted || described.runsScripts()
		a.node.installs = a.node.installs || described.buildInstalls()
		if p == "package.json" {
			a.node.builds = a.Name != "frappe" && described.Scripts["build"] != ""
			var engines struct{ Node string }
			if json.Unmarshal(described.Engines, &engines) == nil {
				a.node.engine = engines.Node
			}
		}
	}
	for _, p := range packages {
		a.readPaths(p, packages, texts)
	}
	a.readImported(packages, texts)
	a.readRegistries(packages, texts)
	return nil
}

// readManager finds out what installs the modules of a package.json. itself says that
// they are not installed with those of a folder above, as a workspace's are: it has a
// lock, there is none above, or it names another manager than the one above is of.
func (a *app) readManager(p nodePackage, texts map[string]string) (m manager, itself bool) {
	a.node.named = a.node.named || p.PackageManager != ""
	m = p.installedBy(texts)
	if p.folder == "." {
		a.node.manager = m
	}
	above, there := managerAbove(p.folder, texts)
	itself = locked(p.folder, texts) || !there || m.version != "" && m.name != above.name
	if m.version != "" && itself {
		a.node.own[p.folder] = m
	}
	return m, itself
}

// installedBy returns the manager that a package.json and the locks beside it are for.
func (p nodePackage) installedBy(texts map[string]string) manager {
	return managerOf(p, func(name string) (string, bool) {
		text, there := texts[path.Join(p.folder, name)]
		return text, there
	})
}

// locked reports whether a lock lies in a folder.
func locked(folder string, texts map[string]string) bool {
	return slices.ContainsFunc(locks, func(name string) bool { _, there := texts[path.Join(folder, name)]; return there })
}

// lockedBelow reports whether one lies in a folder or above it, up to another that has it.
func lockedBelow(above, folder string, texts map[string]string) bool {
	return folder != above && (locked(folder, texts) || lockedBelow(above, path.Dir(folder), texts))
}

// managerAbove returns the manager of the nearest folder above with a lock.
func managerAbove(folder string, texts map[string]string) (m manager, there bool) {
	if folder == "." {
		return manager{}, false
	}
	above := nodePackage{folder: path.Dir(folder)}
	if !locked(above.folder, texts) {
		return managerAbove(above.folder, texts)
	}
	// What is wrong with it, its manager says.
	_ = json.Unmarshal([]byte(texts[path.Join(above.folder, "package.json")]), &above)
	return above.installedBy(texts), true
}

// linked returns the folders of another app that the app's own front ends read.
func (a *app) linked(other *app) (folders []string) {
	for _, l := range a.node.links {
		if l.app == other.Name {
			folders = append(folders, l.folder)
		}
	}
	return folders
}

// linkedBy returns the apps that an app's own front ends read.
func (b *Builder) linkedBy(a *app) (list []*app) {
	for i := range b.apps {
		if other := &b.apps[i]; len(a.linked(other)) > 0 {
			list = append(list, other)
		}
	}
	return list
}

// gitModule matches a module in a lock file that is at a commit: an address of git, or
// that of a repository at a host that yarn 1 knows (GIT_HOSTS of its git resolver).
// GitHub's archives of one (codeload.github.com) need no git.
var gitModule = regexp.MustCompile(`(?m)^\s+(?:"?resolved"?:? "?(?:git[+:@]|ssh:|[^"\n]*\.git#|https?://(?:github\.com|gitlab\.com|bitbucket\.(?:com|org))/[^/"\n]+/[^/"#\n]+/?#)|resolution: \{.*\btype: git\b|resolution: "[^"\n]*#commit=).*`)

// runsScripts reports whether installing the modules of a package.json runs more than
// other installations, and tools that read no file of the app but patches.
func (p nodePackage) runsScripts() bool {
	for _, name := range []string{"preinstall", "install", "postinstall", "prepare"} {
		if p.runsMore(name, 0) {
			return true
		}
	}
	return false
}

// runsMore reports that of a script, or of one that it calls.
func (p nodePackage) runsMore(name string, depth int) bool {
	elsewhere := false
	for _, command := range commandBreak.Split(p.Scripts[name], -1) {
		command = strings.TrimSpace(command)
		elsewhere = elsewhere || strings.HasPrefix(command, "cd ")
		called := scriptCall.FindStringSubmatch(command)
		switch {
		case command == "", installer.MatchString(command):
		case called != nil && p.Scripts[called[1]] != "" && !elsewhere && depth < 5:
			if p.runsMore(called[1], depth+1) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// buildInstalls reports whether the build of a package.json may install modules, by
// itself or by a script that it calls.
func (p nodePackage) buildInstalls() bool {
	var installs func(name string, depth int) bool
	installs = func(name string, depth int) bool {
		for _, command := range commandBreak.Split(p.Scripts[name], -1) {
			command = strings.TrimSpace(command)
			called := scriptCall.FindStringSubmatch(command)
			if installing.MatchString(command) || called != nil && depth < 5 && installs(called[1], depth+1) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc([]string{"prebuild", "build", "postbuild"}, func(name string) bool { return installs(name, 0) })
}

var (
	installing   = regexp.MustCompile(`^(yarn( --cwd[ =]\S+)?( -\S+)*|(yarn|npm|pnpm)\s(.*\s)?(install|i|ci|add)(\s.*)?)$`)
	commandBreak = regexp.MustCompile(`&&|\|\||;`)
	installer    = regexp.MustCompile(`^(cd \S+|(yarn|npm|pnpm)( install| i| ci)?( -\S+)*|patch-package( --(error-on-fail|error-on-warn|use-yarn|reverse))*|husky( install)?|is-ci|true|exit 0)$`)
	scriptCall   = regexp.MustCompile(`^(?:yarn|npm run|pnpm|yarn run|pnpm run) ([\w:.-]+)$`)
)
