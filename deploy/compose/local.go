package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// onHost says whether a path is one of the host's own. Any other one is taken
// from the folder of the set, where there is nothing but the set.
func onHost(path string) bool { return strings.HasPrefix(path, "/") || strings.HasPrefix(path, "~") }

// checkFiles returns the files that the set refers to and that do not get to the
// host with it.
func checkFiles(project *types.Project, documents documents) problem.Report {
	var report problem.Report
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		for _, file := range service.EnvFiles {
			if !onHost(file.Path) {
				report.Addf("compose.local-file", documents.place("services", name, "env_file"), "write its content into this file",
					"service %s refers to another file with env_file, which does not travel to the host", name)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && !onHost(volume.Source) {
				report.Addf("compose.local-file", documents.place("services", name, "volumes"), "use a named volume, or a config with its content in this file",
					"service %s mounts %s, which does not travel to the host", name, volume.Source)
			}
		}
	}
	if documents.has("include") {
		report.Addf("compose.local-file", documents.place("include"), "name all files of the set one after the other", "includes other files, which do not travel to the host")
	}
	refuse := func(kind, name, file string) {
		if file != "" && !onHost(file) {
			report.Addf("compose.local-file", documents.place(kind, name, "file"), "use environment: with the name of a variable in .env instead",
				"%s is read from a file, which does not travel to the host", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(project.Configs)) {
		refuse("configs", name, project.Configs[name].File)
	}
	for _, name := range slices.Sorted(maps.Keys(project.Secrets)) {
		refuse("secrets", name, project.Secrets[name].File)
	}
	return report
}

// checkExtends returns the services that extend one of another file. Within a
// file compose does that by itself.
func checkExtends(documents documents) problem.Report {
	var report problem.Report
	for _, name := range documents.keys("services") {
		if place, file, depth := documents.find("services", name, "extends", "file"); depth == 4 {
			report.Addf("compose.local-file", place, "write that service into this file, and extend it there by its name alone",
				"service %s extends one of another file, %s, which is not looked into", name, file.Value)
		}
	}
	return report
}
