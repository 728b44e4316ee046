package compose

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Set is a compose project as its files describe it.
type Set struct {
	// Files are the files, in the order in which compose reads them.
	Files []File
	// Variables are the names that the files refer to, in order: nothing else
	// of an environment is needed on the host.
	Variables []string
	// SecretVariables are those of them that secrets and configs are made of.
	// Compose wants to find these set, if only to nothing.
	SecretVariables []string
	// Services are the names of the services without those of a profile.
	Services []string
	// Roles are the roles of these services.
	Roles map[string]Role
	// Images are the images of these services, each once.
	Images []string
	// Volumes are the full names of the project's own volumes by their short
	// ones, for instance "erp_sites" by "sites".
	Volumes map[string]string
	// Ports are the TCP ports that services publish on the host.
	Ports []int
}

// Role is what a service is there for. A deploy treats services by it.
type Role string

// The roles. All but Data run our image.
const (
	// Data services outlive a release: databases, and the proxy.
	Data Role = "data"
	// Once is a service that does one thing and ends.
	Once Role = "once"
	// Web services answer visitors.
	Web Role = "web"
	// Worker services do jobs from a queue.
	Worker Role = "worker"
	// Scheduler services put jobs into queues by the clock.
	Scheduler Role = "scheduler"
)

// roleOf gives a service's role by its image and the bench command that it
// runs, which are "bench worker" and "bench schedule" for those that have to
// do with jobs.
func roleOf(service types.ServiceConfig, image string, awaited bool) Role {
	switch {
	case awaited:
		return Once
	case service.Image != image:
		return Data
	case slices.ContainsFunc(service.Command, func(word string) bool { return strings.HasPrefix(word, "worker") }):
		return Worker
	case slices.Contains(service.Command, "schedule"):
		return Scheduler
	}
	return Web
}

// The services without which there is no site to release: bench verbs run in
// backend, visitors come through frontend, backups are of db.
var neededServices = []string{"backend", "frontend", "db"}

// provided are the variables that compose sets by itself.
var provided = map[string]bool{"COMPOSE_PROJECT_NAME": true}

// setDir stands for the folder of the set while the files are read: what a
// path is under it, is relative in the file.
const setDir = "/compose-set"

// Load reads a set of files as compose will read them, with these values of
// variables, and checks what the pipeline needs of it. The set is nil where
// the report has something that keeps it from being read.
func Load(ctx context.Context, name string, files []File, variables map[string]string) (*Set, problem.Report) {
	documents, report := parse(files)
	if len(report) > 0 || len(files) == 0 {
		return nil, report
	}
	references := documents.references()
	values := types.Mapping{"COMPOSE_PROJECT_NAME": name}
	set := &Set{Files: files, Volumes: map[string]string{}, Roles: map[string]Role{}}
	for _, ref := range references {
		set.Variables = append(set.Variables, ref.name)
		if ref.file {
			set.SecretVariables = append(set.SecretVariables, ref.name)
		}
		value, ok := variables[ref.name]
		if ref.required && value == "" || !ok && !ref.optional {
			report.Addf("compose.variable-missing", ref.place, "set "+ref.name+" in .env",
				"refers to %s, which has no value", ref.name)
		}
		// Without a value compose takes the empty one, and complains on a
		// stream of its own.
		if ok || !ref.optional {
			values[ref.name] = value
		}
		if value == "" && ref.required {
			values[ref.name] = "missing"
		}
	}

	details := types.ConfigDetails{WorkingDir: setDir, Environment: values}
	for _, f := range files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f.Path, Content: f.Data})
	}
	project, err := loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SetProjectName(name, true)
		o.Profiles = []string{"*"}
		o.SkipResolveEnvironment = true
		o.SkipInclude = true
		o.SkipExtends = true
	})
	if err != nil {
		report.Add(problem.Problem{Code: "compose.invalid", Subject: documents.placeOf(err.Error()),
			// The validator's word for a key that is not in the schema.
			Detail: strings.Replace(strings.TrimSpace(err.Error()), " false schema", ": compose knows no such key", 1), Remedy: "correct the file", Err: err})
		return nil, report
	}
	report.Add(check(project, documents, variables["IMAGE"])...)

	for _, volume := range slices.Sorted(maps.Keys(project.Volumes)) {
		if v := project.Volumes[volume]; !v.External {
			set.Volumes[volume] = v.Name
		}
	}
	images := map[string]bool{}
	ports := map[int]bool{}
	awaited := awaitedServices(project)
	for _, service := range project.Services {
		if len(service.Profiles) > 0 {
			continue
		}
		set.Services = append(set.Services, service.Name)
		set.Roles[service.Name] = roleOf(service, variables["IMAGE"], awaited[service.Name])
		images[service.Image] = true
		for _, port := range service.Ports {
			if number, err := strconv.Atoi(port.Published); err == nil && port.Protocol != "udp" {
				ports[number] = true
			}
		}
	}
	slices.Sort(set.Services)
	set.Images = slices.Sorted(maps.Keys(images))
	set.Ports = slices.Sorted(maps.Keys(ports))
	return set, report
}

// awaitedServices are those whose end others wait for.
func awaitedServices(project *types.Project) map[string]bool {
	awaited := map[string]bool{}
	for _, service := range project.Services {
		for dependency, condition := range service.DependsOn {
			if condition.Condition == types.ServiceConditionCompletedSuccessfully {
				awaited[dependency] = true
			}
		}
	}
	return awaited
}

// check finds what the pipeline can't work with.
func check(project *types.Project, documents documents, image string) problem.Report {
	var report problem.Report
	for _, name := range neededServices {
		if _, ok := project.Services[name]; !ok {
			report.Addf("compose.service-missing", documents.all(), "add the service, see compose-main.yaml", "there is no service %s", name)
		}
	}
	awaited := awaitedServices(project)
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		at := func(keys ...string) string { return documents.place(append([]string{"services", name}, keys...)...) }
		if service.Build != nil {
			report.Addf("compose.build", at("build"), "name an image instead", "service %s is built on the host; only finished images get there", name)
		}
		for _, key := range []string{"extends", "env_file"} {
			if documents.has("services", name, key) {
				report.Addf("compose.local-file", at(key), "write its content into this file",
					"service %s refers to another file with %s, which does not travel to the host", name, key)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && strings.HasPrefix(volume.Source, setDir) {
				report.Addf("compose.local-file", at("volumes"), "use a named volume, or a config with its content in this file",
					"service %s mounts %s, which does not travel to the host", name, "."+strings.TrimPrefix(volume.Source, setDir))
			}
		}
		if image != "" && service.Image == image && service.PullPolicy != types.PullPolicyNever {
			report.Addf("compose.pull-policy", at("image"), "add: pull_policy: never",
				"service %s may pull our image, which is on the host by its digest before anything stops", name)
		}
		if len(service.Profiles) > 0 || awaited[name] {
			continue
		}
		if service.HealthCheck == nil || service.HealthCheck.Disable || len(service.HealthCheck.Test) == 0 {
			report.Addf("compose.healthcheck-missing", at(), "add a healthcheck; where the service does one thing and ends, let another depend on it with condition: service_completed_successfully",
				"service %s has no health check, so nobody would notice that it is not well", name)
		}
	}
	if backend, ok := project.Services["backend"]; ok && image != "" && backend.Image != image {
		report.Addf("compose.image", documents.place("services", "backend", "image"), "write image: ${IMAGE}",
			"service backend has the image %s, not the one of the release", backend.Image)
	}
	if documents.has("include") {
		report.Addf("compose.local-file", documents.place("include"), "name all files of the set one after the other", "includes other files, which do not travel to the host")
	}
	for _, kind := range []string{"configs", "secrets"} {
		for _, name := range documents.keys(kind) {
			if documents.has(kind, name, "file") {
				report.Addf("compose.local-file", documents.place(kind, name, "file"), "use environment: with the name of a variable in .env instead",
					"%s is read from a file, which does not travel to the host", name)
			}
		}
	}
	return report
}

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

// all names all files.
func (d documents) all() string {
	paths := make([]string, len(d))
	for i := range d {
		paths[i] = d[i].file.Path
	}
	return strings.Join(paths, ", ")
}

// find gives the deepest node on a path of keys, in the last file that has
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

// child gives the value of a key in a mapping, merged mappings included, and
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

// place gives file and line of a path of keys, or of as much of it as is
// there.
func (d documents) place(keys ...string) string {
	place, _, _ := d.find(keys...)
	return place
}

func (d documents) has(keys ...string) bool {
	_, _, depth := d.find(keys...)
	return depth == len(keys)
}

// keys gives the keys of a top-level mapping in all files.
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

// placeOf finds the place that compose's own message is about.
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

// references gives every variable once, in order of names.
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
	// "NAME" alone in an environment takes the value from outside.
	for _, service := range d.keys("services") {
		place, node, depth := d.find("services", service, "environment")
		if depth != 3 {
			continue
		}
		switch node.Kind {
		case yaml.SequenceNode:
			for _, item := range node.Content {
				if item.Kind == yaml.ScalarNode && !strings.Contains(item.Value, "=") {
					add(reference{name: item.Value, place: place, optional: true})
				}
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i+1].Tag == "!!null" {
					add(reference{name: node.Content[i].Value, place: place, optional: true})
				}
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

// usedByDefault gives the secrets or configs that services without a profile
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
