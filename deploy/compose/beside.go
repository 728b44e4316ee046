package compose

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// checkBeside returns what keeps containers of a new release from coming up
// beside those of the one before, as a swap has them do: what there can be only
// once.
func checkBeside(project *types.Project, documents documents, image string) problem.Report {
	var report problem.Report
	awaited := awaitedServices(project)
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		switch role := roleOf(service, image, awaited[name]); {
		case len(service.Profiles) > 0, role == Data, role == Once:
			continue
		}
		refuse := func(key, what string) {
			report.Addf("compose.only-once", documents.place("services", name, key), "leave it out, or use the strategy cycle",
				"service %s has %s, which two releases can't have at the same time; with the strategy swap they do run side by side", name, what)
		}
		if service.ContainerName != "" {
			refuse("container_name", "the container_name "+service.ContainerName)
		}
		if isOfAnother(service.NetworkMode) {
			refuse("network_mode", "network_mode: "+service.NetworkMode)
		}
		for _, port := range service.Ports {
			if port.Published != "" && port.Published != "0" {
				refuse("ports", fmt.Sprintf("port %s of the host", port.Published))
			}
		}
		for _, network := range slices.Sorted(maps.Keys(service.Networks)) {
			if settings := service.Networks[network]; settings != nil && (settings.Ipv4Address != "" || settings.Ipv6Address != "") {
				refuse("networks", "a fixed address in the network "+network)
			}
		}
	}
	return report
}

// routes are the labels of a service that a proxy may read: all but the pipeline's
// own, which differ in any case.
func routes(service types.ServiceConfig) map[string]string {
	labels := maps.Clone(map[string]string(service.Labels))
	maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, "erpnext-pipeline.") })
	return labels
}

// checkTold returns what two releases of a set would mix up: a frontend has to
// lead to the backend of its own release, and the proxy to one frontend and not
// to the other. one and two are the set with different numbers in RELEASE.
func checkTold(one, two *types.Project, documents documents) problem.Report {
	var report problem.Report
	refuse := func(service, key, what string) {
		report.Addf("compose.not-told-apart", documents.place("services", service, key), "write ${RELEASE} into it, as compose-main.yaml does, or use the strategy cycle",
			"%s of service %s is the same in every release; with the strategy swap two of them run side by side", what, service)
	}
	// nginx looks a name up once, and goes on with all addresses that it has.
	first, ok := one.Services["frontend"]
	second := two.Services["frontend"]
	if !ok {
		return report
	}
	for _, pair := range [][2]string{{"backend", "BACKEND"}, {"websocket", "SOCKETIO"}} {
		name, variable := pair[0], pair[1]
		service, ok := one.Services[name]
		if !ok {
			continue
		}
		if reflect.DeepEqual(service.Networks, two.Services[name].Networks) {
			refuse(name, "networks", "every name in the network")
		}
		if reflect.DeepEqual(first.Environment[variable], second.Environment[variable]) && slices.Equal(commandLine(first), commandLine(second)) {
			refuse("frontend", "environment", variable)
		}
	}
	if maps.Equal(routes(first), routes(second)) && reflect.DeepEqual(first.Networks, second.Networks) {
		refuse("frontend", "labels", "the route")
	}
	return report
}
