package image

import (
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
	// manager installs the modules of the root, others those of front ends that have a
	// lock of another one.
	manager manager
	others  []manager
	// links are the folders of other apps that the app's own front ends read.
	links []link
	// copied are the files and folders of the app that are copied among its modules.
	copied []string
	// imported are the folders of front ends that others import by name.
	imported []string
}

// link is a folder of another app.
type link struct {
	// from is the package.json that asks for it, says how it does.
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

	Dependencies, DevDependencies, OptionalDependencies, Resolutions map[string]string
}

// describesModules reports whether a file that a manager reads says which node modules
// an app has, and what runs when they are installed.
func describesModules(p string) bool {
	return path.Base(p) == "package.json" || slices.Contains(locks, path.Base(p))
}

// surveyNode reads what the graph has to know of an app's node modules. The texts are
// those of the files that describe them, by their path.
func (a *app) surveyNode(texts map[string]string) error {
	a.node = nodeApp{manager: yarn1}
	var packages []nodePackage
	for _, p := range slices.Sorted(maps.Keys(texts)) {
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
		packages = append(packages, described)
		a.node.scripted = a.node.scripted || described.runsScripts()
		a.readManager(described, texts)
		a.readPaths(described)
		if p == "package.json" {
			a.node.builds = a.Name != "frappe" && described.Scripts["build"] != ""
			var engines struct{ Node string }
			if json.Unmarshal(described.Engines, &engines) == nil {
				a.node.engine = engines.Node
			}
		}
	}
	for _, p := range packages {
		if p.Name != "" && slices.ContainsFunc(packages, func(other nodePackage) bool { return !other.front() && other.dependsOn(p.Name) }) {
			a.node.imported = append(a.node.imported, p.folder)
		}
	}
	return nil
}

// front reports whether it describes another folder than the root, where bundles find
// their modules.
func (p nodePackage) front() bool { return p.folder != "." }

func (p nodePackage) dependsOn(name string) bool {
	for _, of := range []map[string]string{p.Dependencies, p.DevDependencies, p.OptionalDependencies} {
		if of[name] != "" {
			return true
		}
	}
	return false
}

// readManager finds out what installs the modules of a package.json.
func (a *app) readManager(p nodePackage, texts map[string]string) {
	m := managerOf(p, func(name string) (string, bool) {
		text, there := texts[path.Join(p.folder, name)]
		return text, there
	})
	switch {
	case !p.front():
		a.node.manager = m
	case m.version != "" && m.name != a.node.manager.name && !slices.Contains(a.node.others, m):
		a.node.others = append(a.node.others, m)
	}
}

// pathModule matches a module that is a folder or an archive in a source tree: a link
// to it, or a copy.
var pathModule = regexp.MustCompile(`^(link|portal|file):(.+)$`)

// readPaths finds the modules of a package.json that lie in source trees.
func (a *app) readPaths(p nodePackage) {
	for _, of := range []map[string]string{p.Dependencies, p.DevDependencies, p.OptionalDependencies, p.Resolutions} {
		for _, name := range slices.Sorted(maps.Keys(of)) {
			found := pathModule.FindStringSubmatch(of[name])
			if found == nil {
				continue
			}
			at := path.Join(p.folder, found[2])
			outside, isOutside := strings.CutPrefix(at, "../")
			switch {
			case isOutside:
				l := link{from: path.Join(p.folder, "package.json"), says: of[name]}
				if other, folder, below := strings.Cut(outside, "/"); below && other != ".." {
					l.app, l.folder = other, folder
				}
				a.node.links = append(a.node.links, l)
			case found[1] == "file":
				a.node.copied = append(a.node.copied, at)
			}
		}
	}
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

var (
	commandBreak = regexp.MustCompile(`&&|\|\||;`)
	installer    = regexp.MustCompile(`^(cd \S+|(yarn|npm|pnpm)( install| i| ci)?( -\S+)*|patch-package( --(error-on-fail|error-on-warn|use-yarn|reverse))*|husky( install)?|is-ci|true|exit 0)$`)
	scriptCall   = regexp.MustCompile(`^(?:yarn|npm run|pnpm|yarn run|pnpm run) ([\w:.-]+)$`)
)
