package image

import (
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// pnpmWorkspace is where pnpm has its settings, and what belongs to a workspace.
const pnpmWorkspace = "pnpm-workspace.yaml"

// override is a module that is to be had elsewhere than the packages say that ask for it.
type override struct {
	// of is the module's name, which may go with a range of versions, and with the
	// package that asks for it.
	of, at string
	// file is the one that says so.
	file string
	// asking says that a path is read from the folder of the package of the app that asks
	// for the module: npm does so, and pnpm where it is said to be in the workspace.
	asking bool
}

var (
	// asks matches the end of a package that asks, as pnpm reads it: a ">" that begins no
	// range of versions.
	asks = regexp.MustCompile(`[^ |@]>`)
	// selected matches what an override is of: "ui", "@acme/ui@^1", "**/ui", "web@npm:1/ui".
	// Where a module is to be had may have slashes and names as well: "ui@workspace:libs/ui".
	selected = regexp.MustCompile(`^(?:(?:\*+|(?:@[^/@]+/)?[^/@*]+(?:@(?:npm:)?[^/@:]*)?)/)*((?:@[^/@]+/)?[^/@*]+)(?:@.*)?$`)
)

// name is the name of its module.
func (o override) name() string {
	of := o.of
	if ends := asks.FindAllStringIndex(of, -1); ends != nil {
		of = of[ends[len(ends)-1][1]:]
	}
	if names := selected.FindStringSubmatch(of); names != nil {
		return names[1]
	}
	return ""
}

// overrides returns those that a manager reads in a package.json, or beside it. What is
// wrong with a file, its manager says.
func (p nodePackage) overrides(by manager, texts map[string]string) (list []override) {
	file := path.Join(p.folder, "package.json")
	if by.name != npm {
		for _, of := range slices.Sorted(maps.Keys(p.Resolutions)) {
			list = append(list, override{of: of, at: p.Resolutions[of], file: file})
		}
	}
	var settings struct{ Overrides map[string]any }
	switch by.name {
	case npm:
		_ = json.Unmarshal(p.Overrides, &settings.Overrides)
	case "pnpm":
		if _ = json.Unmarshal(p.Pnpm, &settings); settings.Overrides == nil {
			file = path.Join(p.folder, pnpmWorkspace)
			_ = yaml.Unmarshal([]byte(texts[file]), &settings)
		}
	}
	for _, o := range flat("", settings.Overrides) {
		o.file, o.asking = file, by.name == npm || strings.HasPrefix(o.at, "workspace:")
		list = append(list, o)
	}
	asked := p.dependencies()
	for i, o := range list {
		// "$ui" is what this package.json asks for as ui.
		if name, refers := strings.CutPrefix(o.at, "$"); refers {
			list[i] = override{of: o.of, at: asked[name], file: path.Join(p.folder, "package.json")}
		}
	}
	return list
}

// flat returns overrides without the levels that npm's have: for what a package asks.
func flat(above string, levels map[string]any) (list []override) {
	for _, of := range slices.Sorted(maps.Keys(levels)) {
		below := above + ">" + of
		switch {
		case above == "":
			below = of
		case of == ".":
			below = above
		}
		switch at := levels[of].(type) {
		case string:
			list = append(list, override{of: below, at: at})
		case map[string]any:
			list = append(list, flat(below, at)...)
		}
	}
	return list
}

// dependencies are all modules that a package.json asks for: where each is to be had,
// by its name.
func (p nodePackage) dependencies() map[string]string {
	all := map[string]string{}
	for _, of := range []map[string]string{p.OptionalDependencies, p.DevDependencies, p.Dependencies} {
		maps.Copy(all, of)
	}
	return all
}

// origin is where a module is to be had.
type origin struct {
	name, at string
	// folder is the one from which a path is read, and file the one that has it.
	folder, file string
}

// inTree returns the folder or archive in a source tree that it is.
func (o origin) inTree() (kind, at string, found bool) {
	match := pathModule.FindStringSubmatch(o.at)
	if match == nil {
		return "", "", false
	}
	return match[1], path.Join(o.folder, match[2]+match[3]), true
}

// pathModule matches a module that is a folder or an archive in a source tree: a link
// to it, or a copy.
var pathModule = regexp.MustCompile(`^(?:(link|portal|file|workspace):(.+)|(\.\.?/.+))$`)

// governing returns the nearest package.json with overrides that lies with another or
// above it. apart says that a lock lies below it: what that lock is for is installed
// without them, unless a workspace has it and its manager leaves it unread.
func (p nodePackage) governing(packages []nodePackage, texts map[string]string) (over nodePackage, apart bool) {
	for _, other := range packages { // Those nearer come later.
		if len(other.replaced) > 0 && within(p.folder, other.folder) {
			over, apart = other, lockedBelow(other.folder, p.folder, texts)
		}
	}
	return over, apart
}

// origins returns where the modules are to be had that a package.json asks for: as it
// says, or as the overrides of the nearest package.json above do; both where either may be.
func (p nodePackage) origins(packages []nodePackage, texts map[string]string) (list []origin) {
	over, apart := p.governing(packages, texts)
	all := p.dependencies()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		always := false
		for _, o := range over.replaced {
			if o.name() != name {
				continue
			}
			found := origin{name, o.at, over.folder, o.file}
			if o.asking {
				found.folder = p.folder
			}
			list = append(list, found)
			always = always || o.of == name && !apart
		}
		if !always {
			list = append(list, origin{name, all[name], p.folder, path.Join(p.folder, "package.json")})
		}
	}
	return list
}

// modules returns the origins of a package.json, and what its overrides have in source
// trees for modules alone: one may ask for it, if no package of the app does.
func (p nodePackage) modules(packages []nodePackage, texts map[string]string) []origin {
	list := p.origins(packages, texts)
	for _, o := range p.replaced {
		asked := slices.ContainsFunc(packages, func(other nodePackage) bool {
			over, apart := other.governing(packages, texts)
			return over.folder == p.folder && !apart && other.dependencies()[o.name()] != "" && other.installed(packages, texts)
		})
		found := origin{o.name(), o.at, p.folder, o.file}
		if _, _, there := found.inTree(); there && !asked && !strings.HasPrefix(o.at, "workspace:") {
			list = append(list, found)
		}
	}
	return list
}

// readPaths finds the modules of a package.json that lie in source trees. An example
// that nothing installs may ask for what it likes.
func (a *app) readPaths(p nodePackage, packages []nodePackage, texts map[string]string) {
	for _, o := range p.modules(packages, texts) {
		kind, at, found := o.inTree()
		if !found {
			continue
		}
		isOutside := !within(at, ".")
		switch {
		case isOutside && p.installed(packages, texts):
			l := link{from: o.file, says: o.at}
			if other, folder, _ := strings.Cut(strings.TrimPrefix(at, "../"), "/"); other != ".." {
				l.app, l.folder = other, path.Clean(folder)
			}
			if !slices.Contains(a.node.links, l) {
				a.node.links = append(a.node.links, l)
			}
		case !isOutside && (kind == "file" || kind == ""):
			a.node.copied = append(a.node.copied, at)
		}
	}
}

// installed reports whether installing the root may install a package.json: its own,
// one with a lock, one in a folder that a script names, and a workspace of these.
func (p nodePackage) installed(packages []nodePackage, texts map[string]string) bool {
	root := packages[0]
	if root.folder != "." {
		return false
	}
	if p.folder == "." || locked(p.folder, texts) ||
		slices.ContainsFunc(slices.Collect(maps.Values(root.Scripts)), func(script string) bool { return strings.Contains(script, p.folder) }) {
		return true
	}
	return slices.ContainsFunc(packages, func(above nodePackage) bool {
		return above.folder != p.folder && within(p.folder, above.folder) && above.hasWorkspaces(texts) && above.installed(packages, texts)
	})
}

// hasWorkspaces reports whether other packages belong to a package.json.
func (p nodePackage) hasWorkspaces(texts map[string]string) bool {
	return len(p.Workspaces) > 0 || pnpmPackages.MatchString(texts[path.Join(p.folder, pnpmWorkspace)])
}

var pnpmPackages = regexp.MustCompile(`(?m)^packages:`)

// readImported finds the folders that the root imports, by the name of a workspace or
// by their path, and what those import.
func (a *app) readImported(packages []nodePackage, texts map[string]string) {
	reached := map[string]bool{".": true}
	for grew := true; grew; {
		grew = false
		for _, from := range packages {
			if !reached[from.folder] {
				continue
			}
			for _, o := range from.modules(packages, texts) {
				_, at, _ := o.inTree()
				for _, to := range packages {
					if !reached[to.folder] && (at == to.folder || to.Name != "" && o.name == to.Name) {
						reached[to.folder], grew = true, true
						a.node.imported = append(a.node.imported, to.folder)
					}
				}
			}
		}
	}
	slices.Sort(a.node.imported)
}
