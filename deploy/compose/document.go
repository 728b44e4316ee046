package compose

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// document is a file with its parsed tree.
type document struct {
	file File
	root *yaml.Node
}

type documents []document

var yamlLine = regexp.MustCompile(`line (\d+)`)

func parse(files []File) (documents, problem.Report) {
	var report problem.Report
	var all documents
	for _, f := range files {
		var root yaml.Node
		err := yaml.Unmarshal(f.Data, &root)
		switch {
		case err != nil:
			place := f.Path
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				place += ":" + m[1]
			}
			report.Add(problem.Problem{Code: "compose.syntax", Subject: place, Detail: err.Error(), Remedy: "correct the YAML there", Err: err})
		case len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode:
			report.Addf("compose.syntax", f.Path, "write a compose file", "is empty or not a mapping")
		default:
			all = append(all, document{f, root.Content[0]})
		}
	}
	return all, report
}

// all returns the names of all files.
func (d documents) all() string {
	paths := make([]string, len(d))
	for i := range d {
		paths[i] = d[i].file.Path
	}
	return strings.Join(paths, ", ")
}

// find returns the deepest node on a path of keys, in the last file that has
// most of it, and how many of the keys it has.
func (d documents) find(keys ...string) (place string, node *yaml.Node, depth int) {
	place, depth = d.all(), 0
	for _, doc := range d {
		at, line, n := doc.root, 0, 0
		for _, key := range keys {
			next, keyLine := child(at, key)
			if next == nil {
				break
			}
			at, line, n = next, keyLine, n+1
		}
		if n > 0 && n >= depth {
			place, node, depth = fmt.Sprintf("%s:%d", doc.file.Path, line), at, n
		}
	}
	return place, node, depth
}

// child returns the value of a key in a mapping, merged mappings included, and
// the key's line.
func child(node *yaml.Node, key string) (*yaml.Node, int) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return nil, 0
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value != "<<" {
			continue
		}
		merged := []*yaml.Node{node.Content[i+1]}
		if merged[0].Kind == yaml.SequenceNode {
			merged = merged[0].Content
		}
		for _, m := range merged {
			if found, line := child(m, key); found != nil {
				return found, line
			}
		}
	}
	return nil, 0
}

// place returns file and line of a path of keys, or of as much of it as is
// there.
func (d documents) place(keys ...string) string {
	place, _, _ := d.find(keys...)
	return place
}

func (d documents) has(keys ...string) bool {
	_, _, depth := d.find(keys...)
	return depth == len(keys)
}

// keys returns the keys of a top-level mapping in all files.
func (d documents) keys(top string) []string {
	names := map[string]bool{}
	for _, doc := range d {
		if node, _ := child(doc.root, top); node != nil && node.Kind == yaml.MappingNode {
			for i := 0; i < len(node.Content); i += 2 {
				names[node.Content[i].Value] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

var serviceInError = regexp.MustCompile(`services\.([\w-]+)(?:\.([\w-]+))?|service "([\w-]+)"`)

// placeOf returns the place that compose's own message is about.
func (d documents) placeOf(message string) string {
	m := serviceInError.FindStringSubmatch(message)
	switch {
	case m == nil:
		return d.all()
	case m[1] != "":
		return d.place("services", m[1], m[2])
	}
	return d.place("services", m[3])
}
