package image

import (
	"context"
	_ "embed"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// buildRequirements are what an app without a [build-system] table is built
// with, and what frappe's old releases import at run time (pkg_resources).
const buildRequirements = "setuptools\nwheel\n"

// resolvePackages returns the stage that resolves the Python requirements of all
// apps together.
//
// A lock that was resolved before is where it starts from: what still fits
// stays, unless it is to be upgraded. A first one starts from frappe's
// requirements as they were at its commit's date, because an old frappe does
// not run on today's packages, and lets the other apps add to that without a
// date, because a company's own app may want what is newer.
func (b *Builder) resolvePackages(lock release.Lock, list []app, tools, compilers *stage) *stage {
	w := wants(list)
	needs, parts := []*stage{tools}, []any{}
	if w.git || len(w.sources) > 0 {
		needs[0] = compilers
	}
	text, upgrade := "", ""
	if needs[0] == compilers {
		text = gitScript
	}
	var away []*app
	for _, a := range w.sources {
		needs = append(needs, b.fetched(a))
		parts = append(parts, a.Name, entries(a.files, readsMetadata), benchApps)
		away = append(away, b.visible(a)...)
		text += withoutApps(b.visible(a)) + "uv pip compile --quiet --no-deps --excludes apps.txt " + a.Name + "/" + a.describedBy() + " >/dev/null || { echo '" + noMetadata + a.Name + "' >&2; exit 1; }\n"
	}
	switch {
	case lock.Requirements == "":
	case slices.Contains(b.Upgrade, UpgradeAll):
		upgrade = " --upgrade"
	default:
		for _, name := range b.Upgrade {
			upgrade += " --upgrade-package " + name
		}
	}
	if lock.Requirements != "" {
		w.files["lock.txt"] = lock.Requirements
	}
	limit := ""
	if !b.PackagesAsOf.IsZero() {
		limit = " --exclude-newer " + b.PackagesAsOf.UTC().Format(time.RFC3339)
	}
	text += "mkdir /tmp/out\n"
	for _, platform := range b.Platforms {
		// uv writes a lock over the one that it begins with.
		compile := withoutApps(away) + "uv pip compile --quiet --excludes apps.txt --python-platform " + machine(platform) + glibc + " --output-file /tmp/out/" + machine(platform)
		if lock.Requirements == "" {
			text += compile + " --exclude-newer " + list[0].CommittedAt.UTC().Format(time.RFC3339) + " " + strings.Join(w.first, " ") + "\n"
		} else {
			text += "cp lock.txt /tmp/out/" + machine(platform) + "\n"
		}
		text += compile + " --generate-hashes --no-annotate --no-header" + limit + upgrade + " " + strings.Join(w.all, " ") + "\n"
	}
	// What is newest is another thing every day.
	day := ""
	if upgrade != "" {
		day = time.Now().UTC().Format(time.DateOnly)
	}
	return &stage{
		name: "packages", needs: needs,
		key: keyOf("packages", lock.Python, uvVersion, text, w.files, day, parts),
		build: func(s *stage, in inputs) *dagger.Container {
			folder := b.Client.Directory()
			for _, name := range slices.Sorted(maps.Keys(w.files)) {
				folder = folder.WithNewFile(name, w.files[name])
			}
			for _, a := range w.sources {
				folder = folder.WithDirectory(a.Name, in[b.fetched(a)].Directory(sourceDir), dagger.DirectoryWithDirectoryOpts{Exclude: notMetadata})
			}
			c := b.cached(toolbox(in[needs[0]]), "uv")
			if needs[0] == compilers {
				c = b.withGit(c, list, w.addresses)
			}
			c = b.withBenchApps(c).WithMountedDirectory("/tmp/requirements", folder).WithWorkdir("/tmp/requirements")
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{info: c.Directory("/tmp/out")}
		},
	}
}

//go:embed bench_apps.py
var benchApps string

// withBenchApps returns a container in which a back end runs with [withoutApps].
func (b *Builder) withBenchApps(c *dagger.Container) *dagger.Container {
	return c.WithMountedDirectory("/tmp/bench-apps", b.Client.Directory().WithNewFile("sitecustomize.py", benchApps))
}

// withoutApps are the variables, before a command, with which a back end can import
// apps that are not there, see bench_apps.py. Empty where there are none.
func withoutApps(list []*app) string {
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "PYTHONPATH=/tmp/bench-apps BENCH_APPS='" + strings.Join(slices.Compact(names), " ") + "' "
}

// wanted is what the apps say they need, as uv is told it.
type wanted struct {
	// files are texts by their path, and sources the apps whose back end has to
	// be asked, with what it reads of their source.
	files   map[string]string
	sources []*app
	// all are the files that have requirements, and first those of frappe.
	all, first []string
	// git says that some are at a commit, and addresses have those.
	git       bool
	addresses string
}

func wants(list []app) wanted {
	w := wanted{files: map[string]string{"apps.txt": strings.Join(notPackages(list), "\n")}}
	add := func(a *app, file, text string) {
		w.all = append(w.all, file)
		if a == nil || a == &list[0] {
			w.first = append(w.first, file)
		}
		if text != "" {
			w.files[file] = text
			w.git = w.git || strings.Contains(text, "git+")
		}
	}
	add(nil, "setuptools/requirements.in", buildRequirements)
	for i := range list {
		a := &list[i]
		w.addresses += a.project.text + "\n" + a.legacy + "\n"
		switch file := a.Name + "/" + a.describedBy(); {
		case a.project.static():
			add(a, file, a.project.text)
		case a.describedBy() != "":
			add(a, file, "")
			w.sources = append(w.sources, a)
		}
		if built := a.project.buildRequirements(); built != "" {
			add(a, "build-"+a.Name+"/requirements.in", built)
		}
	}
	return w
}

// describedBy is the name of the file that makes the app a Python package: by it
// its back end is asked what it needs to run. Empty where there is none.
func (a *app) describedBy() string {
	for _, name := range []string{"pyproject.toml", "setup.py", "setup.cfg"} {
		if a.has(name) {
			return name
		}
	}
	return ""
}

// notPackages are what apps mean by their own names in their requirements. On
// PyPI frappe and erpnext are other things, and an app in the image is none of
// its packages.
func notPackages(list []app) []string {
	names := []string{"frappe", "erpnext"}
	for _, a := range list {
		names = append(names, a.Name)
		if a.project.Project != nil && a.project.Project.Name != "" {
			names = append(names, a.project.Project.Name)
		}
	}
	// What can't be a name there is none.
	names = slices.DeleteFunc(names, func(name string) bool { return !publicName.MatchString(name) })
	slices.Sort(names)
	return slices.Compact(names)
}

// publicName is PyPI's rule of names (PEP 508).
var publicName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// noMetadata stands before the name of an app whose back end failed.
const noMetadata = "no metadata: "

// UpgradeAll in Upgrade stands for every package, whatever else is there.
const UpgradeAll = "all"
