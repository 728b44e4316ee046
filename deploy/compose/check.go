package compose

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// The services without which there is no site to release: bench verbs run in
// backend, visitors come through frontend. Where backups are taken from is for
// checkDatabase.
var neededServices = []string{"backend", "frontend"}

// check returns what the pipeline can't work with.
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
		if image != "" && service.Image == image && service.PullPolicy != types.PullPolicyNever {
			report.Addf("compose.pull-policy", at("image"), "add: pull_policy: never",
				"service %s may pull our image, which is on the host by its digest before anything stops", name)
		}
		if len(service.Profiles) > 0 {
			continue
		}
		if image != "" {
			report.Add(checkRole(service, image, awaited[name], at)...)
		}
		if awaited[name] || migrates(service) {
			continue
		}
		if service.HealthCheck == nil || service.HealthCheck.Disable || len(service.HealthCheck.Test) == 0 {
			report.Addf("compose.healthcheck-missing", at(), "add a healthcheck; where the service does one thing and ends (not a migration: a release does that), let another depend on it with condition: service_completed_successfully",
				"service %s has no health check, so a failure of it would not be noticed", name)
		} else if image != "" && service.Image == image && asksSite(service.HealthCheck.Test) {
			report.Addf("compose.healthcheck-closed", at("healthcheck"), "take 503 for an answer as well, as backend does in compose-main.yaml, or ask for a file in /assets",
				"the health check of service %s asks the site, and fails as long as that is closed: a release that closes it would be undone", name)
		}
	}
	if backend, ok := project.Services["backend"]; ok && image != "" && backend.Image != image {
		report.Addf("compose.image", documents.place("services", "backend", "image"), "write image: ${IMAGE}",
			"service backend has the image %s, not the one of the release", backend.Image)
	}
	if image != "" {
		report.Add(checkSharing(project, documents, image)...)
	}
	report.Add(checkProfiles(project, documents, image)...)
	report.Add(checkDatabase(project, documents, image)...)
	report.Add(checkFiles(project, documents)...)
	return report
}

// What a health check asks at the ports of gunicorn and nginx, and programs that
// take the answer 503 for a failure.
var (
	asked = regexp.MustCompile(`(?:https?://|[\s'"])[\w.-]+:(?:8000|8080)(/[^\s'"]*)?`)
	fails = regexp.MustCompile(`\bcurl\b.*\s(?:-[a-zA-Z]*f|--fail)|\bwget\b|\burlopen\b`)
)

// asksSite says whether a health check fails in maintenance mode: then Frappe answers
// all but files with 503 (frappe/app.py, SessionStopped).
func asksSite(test []string) bool {
	text := strings.Join(test, " ")
	return fails.MatchString(text) && slices.ContainsFunc(asked.FindAllStringSubmatch(text, -1), func(found []string) bool {
		return !strings.HasPrefix(found[1], "/assets/")
	})
}
