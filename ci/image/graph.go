package image

import (
	"slices"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// graph are the stages of a build.
type graph struct {
	// bases, commands and environments are by platform's index.
	bases, commands, environments []*stage
	// modules and served by platform's index and app's name.
	modules, served []map[string]*stage
	sources         []*stage
	links           []*stage
	// assets, fronts and locales by app's name.
	assets, fronts, locales map[string]*stage
	// rest are kept for later builds only.
	rest []*stage
}

// newGraph lays out the stages of a complete lock. Nothing runs.
func (b *Builder) newGraph(lock release.Lock) *graph {
	g := &graph{assets: map[string]*stage{}, fronts: map[string]*stage{}, locales: map[string]*stage{}}
	b.usePacker(lock)
	g.rest = append(g.rest, b.packer)
	var nativeTools, nativeEnvironment *stage
	for _, platform := range b.Platforms {
		tools := b.newTools(lock, platform)
		compilers := b.newCompilers(lock, tools)
		g.rest = append(g.rest, tools, compilers)
		environment := b.environment(lock.Requirements, compilers)
		g.bases = append(g.bases, b.base(lock, platform))
		g.commands = append(g.commands, b.command(tools))
		g.environments = append(g.environments, environment)
		modules, served := map[string]*stage{}, map[string]*stage{}
		for i := range b.apps {
			a := &b.apps[i]
			if !a.has("package.json") {
				continue
			}
			in := tools
			if a.node.gitModules != "" {
				in = compilers
			}
			modules[a.Name] = b.modules(a, in)
			g.rest = append(g.rest, modules[a.Name])
			if a.servesModules() {
				served[a.Name] = b.served(a, modules[a.Name])
			}
		}
		g.modules, g.served = append(g.modules, modules), append(g.served, served)
		if platform == b.native || nativeTools == nil {
			nativeTools, nativeEnvironment = tools, environment
		}
	}
	native := max(0, slices.Index(b.Platforms, b.native))
	for i := range b.apps {
		a := &b.apps[i]
		g.sources = append(g.sources, b.source(a))
		g.links = append(g.links, b.link(a, nativeTools, nativeEnvironment))
		if a.bundles() {
			g.assets[a.Name] = b.assets(a, b.visible(a), nativeTools, g.modules[native])
		}
		if a.node.builds {
			g.fronts[a.Name] = b.front(a, b.visible(a), nativeTools, g.modules[native])
		}
		if a.translated(&b.apps[0]) {
			g.locales[a.Name] = b.locales(a, nativeTools)
		}
	}
	return g
}

// visible are the apps from which an app's front end and its setup.py may import:
// frappe, those that it requires, and itself.
func (b *Builder) visible(a *app) []*app {
	wanted := map[string]bool{"frappe": true, a.Name: true}
	for grew := true; grew; {
		grew = false
		for _, other := range b.apps {
			if !wanted[other.Name] {
				continue
			}
			for _, name := range other.requires {
				grew = grew || !wanted[name]
				wanted[name] = true
			}
		}
	}
	var list []*app
	for i := range b.apps {
		if wanted[b.apps[i].Name] {
			list = append(list, &b.apps[i])
		}
	}
	return list
}

// inImage returns the stages that the image is made from, those that take
// longest first.
func (g *graph) inImage(list []app) []*stage {
	stages := slices.Concat(g.environments, g.bases, g.commands)
	for _, served := range g.served {
		for _, s := range served {
			stages = append(stages, s)
		}
	}
	for _, a := range list {
		stages = append(stages, g.builtOf(a.Name)...)
	}
	return slices.Concat(stages, g.sources, g.links)
}

// builtOf returns the stages with what was built of an app.
func (g *graph) builtOf(name string) []*stage {
	return slices.DeleteFunc([]*stage{g.assets[name], g.fronts[name], g.locales[name]}, func(s *stage) bool { return s == nil })
}

// uses returns the tags of all stages that a store may have of a build, sorted.
func (b *Builder) uses(g *graph) []string {
	seen := map[*stage]bool{nil: true}
	var tags []string
	var walk func(...*stage)
	walk = func(stages ...*stage) {
		for _, s := range stages {
			if seen[s] {
				continue
			}
			seen[s] = true
			if !s.unstored {
				tags = append(tags, s.tag())
			}
			walk(s.needs...)
		}
	}
	walk(b.resolved)
	walk(g.inImage(b.apps)...)
	walk(g.rest...)
	slices.Sort(tags)
	return slices.Compact(tags)
}

// layers returns the stages whose layers make the image of a platform, the
// lowest first.
func (g *graph) layers(platform int, list []app) []*stage {
	order := []*stage{g.bases[platform], g.commands[platform], g.environments[platform]}
	for _, a := range list {
		if s := g.served[platform][a.Name]; s != nil {
			order = append(order, s)
		}
	}
	for i, a := range list {
		order = append(order, g.sources[i])
		order = append(order, g.builtOf(a.Name)...)
	}
	return order
}
