package compose

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Container is a container of a project.
type Container struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Image   string `json:"image"`
	// State is Docker's word: "running", "exited", "restarting" and so on.
	State string `json:"state"`
	// Health is "healthy", "unhealthy", "starting", or empty for a container
	// without a health check.
	Health string `json:"health,omitempty"`
	// Exit is the exit code of one that exited.
	Exit int `json:"exit"`
	// Role is what its service is for, where that is known.
	Role Role `json:"role,omitempty"`
}

// OK reports whether the container is as it should be: running and not unhealthy,
// or where it does one thing and ends, done with exit code 0. One whose role is
// not known is taken for one that ends.
func (c Container) OK() bool {
	switch c.State {
	case "running":
		return c.Health == "" || c.Health == "healthy"
	case "exited":
		return c.Exit == 0 && (c.Role == Once || c.Role == "")
	}
	return false
}

// Know gives containers the roles of their services: services has lines of role
// and service, as a release on the host does.
func Know(containers []Container, services string) {
	roles := map[string]Role{}
	for line := range strings.Lines(services) {
		if role, service, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			roles[service] = Role(role)
		}
	}
	for i := range containers {
		containers[i].Role = roles[containers[i].Service]
	}
}

// ParsePS reads what "docker compose ps --format json" printed: one object on
// a line since Compose 2.21, one list before. The result is sorted by name.
func ParsePS(output string) ([]Container, error) {
	type summary struct {
		Name, Service, Image, State, Health string
		ExitCode                            int
	}
	var found []summary
	text := strings.TrimSpace(output)
	decoder := json.NewDecoder(strings.NewReader(text))
	for decoder.More() {
		var err error
		if strings.HasPrefix(text, "[") {
			err = decoder.Decode(&found)
		} else {
			var one summary
			err = decoder.Decode(&one)
			found = append(found, one)
		}
		if err != nil {
			return nil, fmt.Errorf("read list of containers: %w", err)
		}
	}
	containers := make([]Container, len(found))
	for i, s := range found {
		containers[i] = Container{Name: s.Name, Service: s.Service, Image: s.Image, State: s.State, Health: s.Health, Exit: s.ExitCode}
	}
	slices.SortFunc(containers, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return containers, nil
}
