package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// faultPort is where the host is told to cause faults: apart from SSH, which
// is one of the things that fail.
const faultPort = 7

// RestartDocker has the Docker engine end in order and start again, as an
// upgrade of its package does: all containers are stopped, and those that have
// a restart policy are started again. It returns when Docker answers.
func (h *Host) RestartDocker(ctx context.Context) error { return h.fault(ctx, "restart-docker") }

// KillDocker kills the Docker engine, which is started again at once. Its
// containers run on until the new one finds them and ends them. It starts those
// again that have the restart policy "always"; Docker 20.10 takes those with
// "unless-stopped" for stopped by a user. It returns when Docker answers.
func (h *Host) KillDocker(ctx context.Context) error { return h.fault(ctx, "kill-docker") }

// CrashDocker kills the Docker engine together with the processes by which its
// containers hang on it, as the kernel may where memory runs out. It is for newer
// hosts: Docker 20.10 may never start such a container again until containerd is
// restarted.
func (h *Host) CrashDocker(ctx context.Context) error { return h.fault(ctx, "crash-docker") }

// KillSSH kills the SSH server with all its sessions; it is started again at
// once. What the sessions have started in the background goes on. It returns
// when SSH answers.
func (h *Host) KillSSH(ctx context.Context) error { return h.fault(ctx, "kill-ssh") }

// ShrinkVolumes puts Docker's volumes on a file system of their own that has 48 MB
// left, and restarts Docker for it. It stays until the host is stopped, and what
// was changed in the volumes goes with it.
func (h *Host) ShrinkVolumes(ctx context.Context) error { return h.fault(ctx, "small-volumes") }

// GrowVolumes enlarges the volumes' file system after [Host.ShrinkVolumes].
func (h *Host) GrowVolumes(ctx context.Context) error { return h.fault(ctx, "large-volumes") }

// Restart cuts the host off its power and boots it again.
func (h *Host) Restart(ctx context.Context) error {
	if err := h.Cut(ctx); err != nil {
		return err
	}
	return h.Start(ctx)
}

// fault has the host cause a fault and waits until it has happened.
func (h *Host) fault(ctx context.Context, name string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cause fault %s: %w", name, err)
		}
	}()
	if h.faultAddress == "" {
		if h.faultAddress, err = h.Forward(ctx, faultPort); err != nil {
			return err
		}
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", h.faultAddress)
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()
	if _, err := fmt.Fprintln(connection, name); err != nil {
		return err
	}
	answer, err := io.ReadAll(connection)
	if said := strings.TrimSpace(string(answer)); err == nil && said != "done" {
		err = fmt.Errorf("the host says %q", said)
	}
	return errors.Join(err, context.Cause(ctx))
}
