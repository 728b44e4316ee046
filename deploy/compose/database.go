package compose

import (
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// databaseService is the name of the service with the sites' database, where the
// set does not name another one.
const databaseService = "db"

// databaseHost returns the host that the set has the sites' database on: a
// service of it, or a server elsewhere.
func databaseHost(project *types.Project, image string) string {
	names := slices.Sorted(maps.Keys(project.Services))
	// The configurator writes down what the bench goes by.
	slices.SortStableFunc(names, func(a, b string) int { return boolOrder(a == "configurator", b == "configurator") })
	for _, name := range names {
		service := project.Services[name]
		if service.Image != image || len(service.Profiles) > 0 {
			continue
		}
		var extra struct {
			Host string `json:"db_host"`
		}
		if text := service.Environment["EXTRA_CONFIG"]; text != nil && json.Unmarshal([]byte(*text), &extra) == nil && extra.Host != "" {
			return extra.Host
		}
		for _, key := range []string{"DB_HOST", "FRAPPE_DB_HOST"} {
			if host := service.Environment[key]; host != nil && *host != "" {
				return *host
			}
		}
		for _, command := range commandsIn(commandLine(service)) {
			words := command.words
			if i := slices.IndexFunc(words, func(w string) bool { return w == "db_host" || w == "set-mariadb-host" }); i > 0 && i+1 < len(words) && !strings.Contains(words[i+1], "$") {
				return words[i+1]
			}
		}
	}
	return databaseService
}

// boolOrder puts what is so before what is not.
func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

var postgres = regexp.MustCompile(`^(postgres|postgis|pgvector|timescaledb|spilo)`)

// checkDatabase returns what is wrong with the sites' database.
func checkDatabase(project *types.Project, documents documents, image string) problem.Report {
	var report problem.Report
	host := databaseHost(project, image)
	service, ok := project.Services[host]
	if !ok && host == databaseService {
		report.Addf("compose.service-missing", documents.all(),
			"add the service, see compose-main.yaml; or name the server elsewhere that has the database: DB_HOST in the environment of the configurator", "there is no service %s", host)
	}
	refuse := func(place, which string) {
		report.Addf("compose.postgres", place, "use MariaDB",
			"%s is for PostgreSQL: databases of that can't be backed up and put back here, so there would be no way back from a migration", which)
	}
	if repository, _, _ := strings.Cut(path.Base(service.Image), ":"); ok && postgres.MatchString(repository) {
		refuse(documents.place("services", host, "image"), "service "+host)
	}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if service.Image != image {
			continue
		}
		for _, key := range []string{"DB_TYPE", "FRAPPE_DB_TYPE"} {
			if kind := service.Environment[key]; kind != nil && strings.HasPrefix(*kind, "postgres") {
				refuse(documents.place("services", name, "environment", key), key+" of service "+name)
			}
		}
		words := strings.Join(commandLine(service), " ")
		if strings.Contains(words, "--db-type postgres") || strings.Contains(words, "--db-type=postgres") {
			refuse(documents.place("services", name, "command"), "the command of service "+name)
		}
	}
	return report
}
