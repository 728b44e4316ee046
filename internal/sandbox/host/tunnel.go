package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"dagger.io/dagger"
)

// locate finds out under which address the host can be reached from here, if
// it can.
func (h *Host) locate(ctx context.Context) error {
	out, err := h.look(ctx, "cat "+disk+"/address")
	if err != nil {
		return fmt.Errorf("find the host's address: %w", err)
	}
	address := strings.TrimSpace(out)
	if err := greets(ctx, net.JoinHostPort(address, "22")); err != nil {
		if h.direct.Load() != nil {
			return fmt.Errorf("reach the host at its new address: %w", err)
		}
		h.options.Log.Info().Err(err).Msg("the engine's network can't be reached from here; connections go through its tunnels")
		return nil
	}
	h.direct.Store(&address)
	return nil
}

// greets returns why an SSH server does not answer at an address. A connection alone
// says little: a proxy on the way out accepts one to any address.
func greets(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	greeting := make([]byte, len("SSH-"))
	if _, err := io.ReadFull(connection, greeting); err != nil {
		return err
	}
	if string(greeting) != "SSH-" {
		return fmt.Errorf("something else than an SSH server answers at %s", address)
	}
	return nil
}

// locateJump does the same for the jump host, which has no disk to read it from.
func (h *Host) locateJump(ctx context.Context) error {
	if h.direct.Load() == nil {
		return nil
	}
	out, err := anew(ctx, h.tools.WithServiceBinding("jump", h.jump), "getent ahostsv4 jump")
	if err != nil {
		return fmt.Errorf("find the jump host's address: %w", err)
	}
	address, _, ok := strings.Cut(out, " ")
	if !ok {
		return fmt.Errorf("find the jump host's address in %q", out)
	}
	h.jumpDirect.Store(&address)
	return nil
}

// tunnel makes a port of a service reachable at a port of this machine; 0 is
// any port. It stays over a stop and start of the service.
//
// Dagger's own tunnel is only for an engine on another machine: it ends for
// good, without an error, when one of its connections is cut off by the host
// while something is sent. It also listens on all addresses of this machine.
func (h *Host) tunnel(ctx context.Context, service *dagger.Service, port, local int) (string, error) {
	address := &h.direct
	if service == h.jump {
		address = &h.jumpDirect
	}
	if address.Load() != nil {
		f, err := forward(ctx, local, func() string { return net.JoinHostPort(*address.Load(), strconv.Itoa(port)) })
		if err != nil {
			return "", fmt.Errorf("open tunnel to port %d: %w", port, err)
		}
		h.forwards = append(h.forwards, f)
		return f.address(), nil
	}
	tunnel, err := h.pin(ctx, h.options.Client.Host().Tunnel(service, dagger.HostTunnelOpts{
		Ports: []dagger.PortForward{{Backend: port, Frontend: local}},
	}))
	if err != nil {
		return "", fmt.Errorf("open tunnel to port %d: %w", port, err)
	}
	if _, err := tunnel.Start(ctx); err != nil {
		return "", fmt.Errorf("open tunnel to port %d: %w", port, err)
	}
	h.tunnels = append(h.tunnels, tunnel)
	endpoint, err := tunnel.Endpoint(ctx)
	if err != nil {
		return "", fmt.Errorf("open tunnel to port %d: %w", port, err)
	}
	return endpoint, nil
}

// Forward makes another port of the host reachable and returns the address,
// "127.0.0.1:port", which stays until Close.
func (h *Host) Forward(ctx context.Context, port int) (string, error) {
	return h.tunnel(ctx, h.service, port, 0)
}

// freePort returns the port if it is free on this machine, else 0 for any.
func freePort(ctx context.Context, port int) int {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return 0
	}
	_ = listener.Close()
	return port
}
