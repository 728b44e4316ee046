package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// provided are the variables that compose sets by itself.
var provided = map[string]bool{"COMPOSE_PROJECT_NAME": true}

// reference is a variable that the files refer to.
type reference struct {
	name string
	// place is the file and line of the first mention.
	place string
	// required means that an empty value is an error for compose, optional
	// that it has a default or need not be there.
	required, optional bool
	// file means that a secret or a config is made of it.
	file bool
}

// references returns every variable that the text refers to once, in order of
// names.
func (d documents) references() []reference {
	found := map[string]reference{}
	add := func(r reference) {
		if provided[r.name] {
			return
		}
		if old, ok := found[r.name]; ok {
			r.place = old.place
			r.required = r.required || old.required
			r.optional = r.optional && old.optional
			r.file = r.file || old.file
		}
		found[r.name] = r
	}
	for _, doc := range d {
		walk(doc.root, func(node *yaml.Node) {
			// A block's lines begin below its indicator; finer than the
			// block it is not told.
			place := fmt.Sprintf("%s:%d", doc.file.Path, node.Line)
			for _, v := range template.ExtractVariables(map[string]any{"": node.Value}, nil) {
				// An empty default can't be told from none by its value.
				optional := v.DefaultValue != "" || v.PresenceValue != "" ||
					strings.Contains(node.Value, "${"+v.Name+"-") || strings.Contains(node.Value, "${"+v.Name+":-")
				add(reference{name: v.Name, place: place, required: v.Required, optional: optional})
			}
		})
	}
	// A variable that a secret or a config is made of has to be there when
	// one of the services that are always started names it.
	for _, kind := range []string{"secrets", "configs"} {
		used := d.usedByDefault(kind)
		for _, name := range d.keys(kind) {
			place, node, depth := d.find(kind, name, "environment")
			if depth == 3 {
				add(reference{name: node.Value, place: place, required: used[name], optional: !used[name], file: true})
			}
		}
	}
	names := slices.Sorted(maps.Keys(found))
	all := make([]reference, len(names))
	for i, name := range names {
		all[i] = found[name]
	}
	return all
}

// passedOn returns the variables that services take from outside by naming them
// alone in their environment. Only what was read tells: the names come from
// several files, and by anchors.
func passedOn(project *types.Project) []string {
	names := map[string]bool{}
	for _, service := range project.Services {
		for name, value := range service.Environment {
			if value == nil && !provided[name] {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// usedByDefault returns the secrets or configs that services without a profile
// name.
func (d documents) usedByDefault(kind string) map[string]bool {
	used := map[string]bool{}
	for _, service := range d.keys("services") {
		if d.has("services", service, "profiles") {
			continue
		}
		_, node, depth := d.find("services", service, kind)
		if depth != 3 || node.Kind != yaml.SequenceNode {
			continue
		}
		for _, item := range node.Content {
			if item.Kind == yaml.ScalarNode {
				used[item.Value] = true
			} else if source, _ := child(item, "source"); source != nil {
				used[source.Value] = true
			}
		}
	}
	return used
}

// walk visits every scalar value.
func walk(node *yaml.Node, visit func(*yaml.Node)) {
	switch node.Kind {
	case yaml.ScalarNode:
		visit(node)
	case yaml.MappingNode:
		for i := 1; i < len(node.Content); i += 2 {
			walk(node.Content[i], visit)
		}
	case yaml.SequenceNode:
		for _, item := range node.Content {
			walk(item, visit)
		}
	}
}
