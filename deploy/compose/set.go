package compose

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

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
	// Ports are the TCP ports that services publish at every address of the host: one
	// at a single address may be another program's at the next.
	Ports []int
	// NotBeside is what keeps two releases from running side by side: the
	// strategy swap can't be used with it.
	NotBeside problem.Report
}

// setDir stands for the folder of the set while the files are read.
const setDir = "/compose-set"

// Load reads a set of files as compose will read them, with these values of
// variables, and checks what the pipeline needs of it. The set is nil where
// the report has something that keeps it from being read.
func Load(ctx context.Context, name string, files []File, variables map[string]string) (*Set, problem.Report) {
	documents, report := parse(files)
	if len(report) > 0 || len(files) == 0 {
		return nil, report
	}
	if report = checkExtends(documents); len(report) > 0 {
		return nil, report
	}
	set := &Set{Files: files, Roles: map[string]Role{}}
	values, missing := set.readVariables(documents, name, variables)
	report.Add(missing...)
	project, invalid := loadProject(ctx, name, documents, values)
	if len(invalid) > 0 {
		report.Add(invalid...)
		return nil, report
	}
	set.Variables = slices.Compact(slices.Sorted(slices.Values(append(set.Variables, passedOn(project)...))))
	report.Add(check(project, documents, variables["IMAGE"])...)
	set.NotBeside = checkBeside(project, documents, variables["IMAGE"])
	set.NotBeside.Add(toldApart(ctx, name, documents, values)...)
	set.readServices(project, variables["IMAGE"])
	return set, report
}

// toldApart reads the set as two releases have it, and returns what they would
// mix up.
func toldApart(ctx context.Context, name string, documents documents, values types.Mapping) problem.Report {
	var projects [2]*types.Project
	for i := range projects {
		numbered := maps.Clone(values)
		numbered["RELEASE"] = strconv.Itoa(i + 1)
		var invalid problem.Report
		if projects[i], invalid = loadProject(ctx, name, documents, numbered); len(invalid) > 0 {
			return invalid
		}
	}
	return checkTold(projects[0], projects[1], documents)
}

// readVariables takes in the variables that the files refer to, and returns the
// values that they are read with.
func (s *Set) readVariables(documents documents, name string, variables map[string]string) (types.Mapping, problem.Report) {
	var report problem.Report
	values := types.Mapping{"COMPOSE_PROJECT_NAME": name}
	for _, ref := range documents.references() {
		s.Variables = append(s.Variables, ref.name)
		if ref.file {
			s.SecretVariables = append(s.SecretVariables, ref.name)
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
	return values, report
}

// loadProject reads the files as compose does.
func loadProject(ctx context.Context, name string, documents documents, values types.Mapping) (*types.Project, problem.Report) {
	details := types.ConfigDetails{WorkingDir: setDir, Environment: values}
	for _, d := range documents {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: d.file.Path, Content: d.file.Data})
	}
	project, err := loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SetProjectName(name, true)
		o.Profiles = []string{"*"}
		o.SkipResolveEnvironment = true
		o.SkipInclude = true
		// It is the host where they lead somewhere.
		o.ResolvePaths = false
	})
	if err != nil {
		return nil, problem.Report{{Code: "compose.invalid", Subject: documents.placeOf(err.Error()),
			// The validator's word for a key that is not in the schema.
			Detail: strings.Replace(strings.TrimSpace(err.Error()), " false schema", ": compose knows no such key", 1), Remedy: "correct the file", Err: err}}
	}
	return project, nil
}

// readServices takes in what the project's services are. Those of a profile are
// left out.
func (s *Set) readServices(project *types.Project, image string) {
	images := map[string]bool{}
	ports := map[int]bool{}
	awaited := awaitedServices(project)
	for _, service := range project.Services {
		if len(service.Profiles) > 0 {
			continue
		}
		s.Services = append(s.Services, service.Name)
		s.Roles[service.Name] = roleOf(service, image, awaited[service.Name])
		images[service.Image] = true
		for _, port := range service.Ports {
			everywhere := slices.Contains([]string{"", "0.0.0.0", "::"}, port.HostIP)
			if number, err := strconv.Atoi(port.Published); err == nil && port.Protocol != "udp" && everywhere {
				ports[number] = true
			}
		}
	}
	slices.Sort(s.Services)
	s.Images = slices.Sorted(maps.Keys(images))
	s.Ports = slices.Sorted(maps.Keys(ports))
}
