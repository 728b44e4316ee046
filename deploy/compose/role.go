package compose

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

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

// roleLabel is the label by which a set says what a service is there for, where
// its command does not.
const roleLabel = "erpnext-pipeline.role"

// benchDir is where an image has its bench.
const benchDir = "/home/frappe/frappe-bench"

// The services that steps know by their names. They answer visitors.
var webServices = []string{"backend", "frontend", "websocket"}

// roleOf returns a service's role by its image and what it runs.
func roleOf(service types.ServiceConfig, image string, awaited bool) Role {
	said := Role(service.Labels[roleLabel])
	switch {
	case awaited:
		return Once
	case service.Image != image:
		return Data
	case said == Worker || said == Scheduler || said == Web:
		return said
	}
	for _, p := range programsOf(commandLine(service)) {
		if p.role != "" {
			return p.role
		}
	}
	return Web
}

func commandLine(service types.ServiceConfig) []string {
	return slices.Concat([]string(service.Entrypoint), []string(service.Command))
}

// checkRole returns what keeps a service from having one role that is known for
// certain. at returns the place of some of its keys.
func checkRole(service types.ServiceConfig, image string, awaited bool, at func(keys ...string) string) problem.Report {
	programs := programsOf(commandLine(service))
	var report problem.Report
	place := at("command")
	if len(service.Command) == 0 && len(service.Entrypoint) > 0 {
		place = at("entrypoint")
	}
	said := Role(service.Labels[roleLabel])
	switch {
	case migrates(service):
		report.Addf("compose.migrates", place, "leave it out, because the release migrates every site; what is started by hand gets a profile",
			"service %s migrates by itself: before the sites are closed and dumped, so that there would be no way back", service.Name)
	case service.Image != image:
		return checkOtherImage(service, programs, at)
	case said != "" && said != Worker && said != Scheduler && said != Web:
		report.Addf("compose.role", at("labels"), "use web, worker or scheduler", "service %s has the label %s with %q, which is no role", service.Name, roleLabel, said)
	case !awaited:
		report.Add(checkOneRole(service, programs, place, at("labels"))...)
		report.Add(checkSignals(service, programs, place)...)
		if roleOf(service, image, awaited) == Worker {
			report.Add(checkHostname(service, at)...)
		}
	}
	return report
}

// checkHostname returns what has a worker register at the queue under another name
// than that of its container, which is all that a release knows it by: RQ takes the
// name of the machine, and that is the container's short id where nothing says
// otherwise.
func checkHostname(service types.ServiceConfig, at func(keys ...string) string) problem.Report {
	var report problem.Report
	refuse := func(key, value string) {
		report.Addf("compose.worker-hostname", at(key), "leave it out",
			"service %s has %s: %s, and so another name at the queue than its container's, by which a release finds its workers and their jobs", service.Name, key, value)
	}
	if service.Hostname != "" {
		refuse("hostname", service.Hostname)
	}
	if isOfAnother(service.NetworkMode) {
		refuse("network_mode", service.NetworkMode)
	}
	if isOfAnother(service.Uts) {
		refuse("uts", service.Uts)
	}
	return report
}

// isOfAnother says whether a mode has a service take part in what is the host's or
// another container's, in place of what would be its own.
func isOfAnother(mode string) bool {
	return mode == "host" || strings.HasPrefix(mode, types.ServicePrefix) || strings.HasPrefix(mode, types.ContainerPrefix)
}

// checkOtherImage returns what is wrong with the image of a service that has not
// that of the release.
func checkOtherImage(service types.ServiceConfig, programs []program, at func(keys ...string) string) problem.Report {
	var report problem.Report
	ofBench := slices.ContainsFunc(programs, func(p program) bool { return p.bench }) ||
		slices.Contains(webServices, service.Name) ||
		slices.ContainsFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool {
			return v.Target == benchDir || strings.HasPrefix(v.Target, benchDir+"/")
		})
	if ofBench && service.Name != "backend" { // of which check has more to say
		report.Addf("compose.image", at("image"), "write image: ${IMAGE}; a service that is not started by itself gets a profile",
			"service %s is a part of the bench, and has the image %s, not the one of the release: it would stay on old code", service.Name, service.Image)
	}
	return report
}

// checkSharing returns the services that outlive a release, and yet live in the
// network, among the processes or in the memory of one that does not: they would
// be left with what is gone.
func checkSharing(project *types.Project, documents documents, image string) problem.Report {
	var report problem.Report
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if service.Image == image || len(service.Profiles) > 0 {
			continue
		}
		for _, one := range [][2]string{{"network_mode", service.NetworkMode}, {"pid", service.Pid}, {"ipc", service.Ipc}} {
			key, mode := one[0], one[1]
			of, ok := strings.CutPrefix(mode, types.ServicePrefix)
			if ok && project.Services[of].Image == image {
				report.Addf("compose.shares", documents.place("services", name, key), "leave it out, and have it reach "+of+" by its name in a network; or have "+of+" share that of "+name,
					"service %s has %s: %s, and every release replaces %s, but not %s", name, key, mode, of, name)
			}
		}
	}
	return report
}

// checkOneRole returns what keeps a service that stays up from having one role.
func checkOneRole(service types.ServiceConfig, programs []program, place, labels string) problem.Report {
	var report problem.Report
	said := Role(service.Labels[roleLabel])
	var roles []Role
	managed := false
	for _, p := range programs {
		managed = managed || p.manager
		if p.role != "" && !slices.Contains(roles, p.role) {
			roles = append(roles, p.role)
		}
	}
	jobs := func(r Role) bool { return r == Worker || r == Scheduler }
	byName := slices.Contains(webServices, service.Name)
	switch {
	case managed || len(roles) > 1:
		report.Addf("compose.role", place, "give each program a service of its own",
			"service %s runs several programs in one container: its workers can't be stopped by themselves", service.Name)
	case said != "" && len(roles) == 1 && roles[0] != said:
		report.Addf("compose.role", labels, "take the label away, or correct it",
			"service %s has the label %s: %s, and the command of another role, %s", service.Name, roleLabel, said, roles[0])
	case byName && (slices.ContainsFunc(roles, jobs) || jobs(said)):
		report.Addf("compose.role", place, "give it a service with another name", "service %s answers visitors, and is to run jobs", service.Name)
	case said == "" && len(roles) == 0 && !byName && len(commandLine(service)) > 0:
		report.Addf("compose.role", place, "say what it is there for with a label, "+roleLabel+": web, worker or scheduler",
			"it can't be told from the command of service %s whether it answers visitors or runs jobs", service.Name)
	}
	return report
}

// checkSignals returns what keeps a worker from hearing that it is to finish its
// job and end. Docker tells the first process of its container, no other.
func checkSignals(service types.ServiceConfig, programs []program, place string) problem.Report {
	var report problem.Report
	i := slices.IndexFunc(programs, func(p program) bool { return p.role == Worker && p.behind != "" })
	if i < 0 {
		return report
	}
	remedy := map[parent]string{
		aShell: "write exec before it, as the last command of the script, without & or a pipe: exec bench worker …",
		aLogin: "leave su out, and name the user with the key user",
		aTimer: "leave timeout out",
	}[programs[i].behind]
	report.Addf("compose.worker-not-told", place, remedy,
		"service %s starts its worker behind %s, which does not let it finish its job when the container is to end: the job would be cut off", service.Name, programs[i].behind)
	return report
}

// migrates says whether a service's own command does what only a release may do.
func migrates(service types.ServiceConfig) bool {
	return slices.ContainsFunc(programsOf(commandLine(service)), func(p program) bool { return p.migrates })
}

// awaitedServices returns the services whose end others wait for.
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
