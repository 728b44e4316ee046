package compose

import (
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
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

// roleOf returns a service's role by its image and the bench command that it
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
