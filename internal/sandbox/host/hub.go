package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
)

// hub returns what has the host's Docker find images of docker.io: its settings, and
// the mirror beside it.
func (h *Host) hub(ctx context.Context) (dagger.WithContainerFunc, error) {
	insecure := []string{"10.0.0.0/8"}
	settings := map[string]any{"storage-driver": "overlay2"}
	var mirror *dagger.Service
	switch {
	case h.options.Mirror != "":
		service, port, err := h.beside(h.options.Mirror)
		if err != nil {
			return nil, fmt.Errorf("read mirror address: %w", err)
		}
		address := "mirror:" + strconv.Itoa(port)
		mirror, settings["registry-mirrors"], insecure = service, []string{"http://" + address}, append(insecure, address)
	case h.options.Hub != "" && localengine.PlainHTTP(ctx, h.options.Hub):
		settings["registry-mirrors"], insecure = []string{"http://" + h.options.Hub}, append(insecure, h.options.Hub)
	case h.options.Hub != "":
		settings["registry-mirrors"] = []string{"https://" + h.options.Hub}
	}
	settings["insecure-registries"] = insecure
	text, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write Docker's settings: %w", err)
	}
	return func(c *dagger.Container) *dagger.Container {
		c = c.WithNewFile("/etc/docker/daemon.json", string(text)+"\n")
		if mirror != nil {
			c = c.WithServiceBinding("mirror", mirror)
		}
		return c
	}, nil
}

// beside returns a server on this machine as a service for a host, and its port.
func (h *Host) beside(address string) (*dagger.Service, int, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, 0, err
	}
	return h.options.Client.Host().Service([]dagger.PortForward{{Backend: port, Frontend: port}}), port, nil
}
