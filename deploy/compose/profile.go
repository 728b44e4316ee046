package compose

import (
	"maps"
	"regexp"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// checkProfiles returns the services that a release needs, and that a profile
// keeps out of it: compose starts these only when they are asked for, and a
// release asks for none.
func checkProfiles(project *types.Project, documents documents, image string) problem.Report {
	var report problem.Report
	needed := neededData(project, image)
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if len(service.Profiles) == 0 {
			continue
		}
		why := ""
		switch {
		case needed[name] != "":
			why = needed[name] + " needs it"
		case image == "" || service.Image != image:
		case slices.Contains(webServices, name):
			why = "it answers visitors"
		case runsJobs(service):
			why = "it runs jobs: started by hand, it would run them on open and closed sites, and stay on old code"
		}
		if why != "" {
			report.Addf("compose.profile", documents.place("services", name, "profiles"), "take the profile away; what the company does without is taken out of the set: NAME: !reset null",
				"service %s has the profile %s, so that no release starts or stops it, and %s", name, service.Profiles[0], why)
		}
	}
	return report
}

// runsJobs says whether a service is known to run jobs.
func runsJobs(service types.ServiceConfig) bool {
	role := Role(service.Labels[roleLabel])
	return role == Worker || role == Scheduler || slices.ContainsFunc(programsOf(commandLine(service)), func(p program) bool {
		return p.role == Worker || p.role == Scheduler || p.manager
	})
}

// server is the beginning of what is a server's address in a value.
var server = regexp.MustCompile(`(?:^|[/@])([A-Za-z0-9][\w.-]*):[0-9]`)

// neededData returns by which service others are needed: those that have to be
// there before it starts, and the servers that its environment names.
func neededData(project *types.Project, image string) map[string]string {
	needed := map[string]string{databaseHost(project, image): "the bench"}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if len(service.Profiles) > 0 && !slices.Contains(webServices, name) {
			continue
		}
		for dependency, condition := range service.DependsOn {
			if condition.Required {
				needed[dependency] = "service " + name
			}
		}
		for _, value := range service.Environment {
			if value == nil || service.Image != image {
				continue
			}
			for _, match := range server.FindAllStringSubmatch(*value, -1) {
				needed[match[1]] = "service " + name
			}
		}
	}
	return needed
}
