package image

import (
	"context"
	"maps"
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
	files := map[string]string{"setuptools/requirements.in": buildRequirements}
	for _, a := range list {
		switch {
		case a.project.Project != nil:
			files[a.Name+"/pyproject.toml"] = a.project.text
		case a.legacy != "":
			files[a.Name+"/requirements.txt"] = a.legacy
		}
		if built := a.project.buildRequirements(); built != "" {
			files[a.Name+"/build-requirements.in"] = built
		}
	}
	var all, own []string
	in := tools
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, name)
		if strings.HasPrefix(name, "setuptools/") || strings.HasPrefix(name, list[0].Name+"/") {
			own = append(own, name)
		}
		if strings.Contains(files[name], "git+") {
			in = compilers
		}
	}
	text, upgrade := "", ""
	switch {
	case lock.Requirements == "":
		text = "uv pip compile --quiet --exclude-newer " + list[0].CommittedAt.UTC().Format(time.RFC3339) +
			" --output-file lock.txt " + strings.Join(own, " ") + "\n"
	case slices.Contains(b.Upgrade, UpgradeAll):
		upgrade = " --upgrade"
	default:
		for _, name := range b.Upgrade {
			upgrade += " --upgrade-package " + name
		}
	}
	if lock.Requirements != "" {
		files["lock.txt"] = lock.Requirements
	}
	limit := ""
	if !b.PackagesAsOf.IsZero() {
		limit = " --exclude-newer " + b.PackagesAsOf.UTC().Format(time.RFC3339)
	}
	text += "uv pip compile --quiet --generate-hashes --no-annotate" + limit + upgrade +
		" --output-file lock.txt " + strings.Join(all, " ") + "\nmkdir /tmp/out\ncp lock.txt /tmp/out/\n"
	// What is newest is another thing every day.
	day := ""
	if upgrade != "" {
		day = time.Now().UTC().Format(time.DateOnly)
	}
	return &stage{
		name: "packages", needs: []*stage{in},
		key: keyOf("packages", lock.Python, uvVersion, text, files, day),
		build: func(s *stage, in inputs) *dagger.Container {
			var c *dagger.Container
			for _, c = range in {
			}
			folder := b.Client.Directory()
			for _, name := range slices.Sorted(maps.Keys(files)) {
				folder = folder.WithNewFile(name, files[name])
			}
			c = b.cached(toolbox(c), "uv").
				WithMountedDirectory("/tmp/requirements", folder).
				WithWorkdir("/tmp/requirements").
				WithEnvVariable("UV_CUSTOM_COMPILE_COMMAND", "erpnext-pipeline")
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{info: c.Directory("/tmp/out")}
		},
	}
}

// UpgradeAll in Upgrade stands for every package, whatever else is there.
const UpgradeAll = "all"
