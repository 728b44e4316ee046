// Package host runs the sandbox's deploy host: a Debian machine in a
// container of the Dagger engine, with an OpenSSH server, a Docker engine and
// the compose plugin, such as a company would deploy its site to.
//
// It has a disk of its own (/home, /srv, /opt, logs, crontabs and Docker's
// data) that outlives Stop and Start, so that a restart of the host can be
// tried for real. Everything else, the running processes and the network
// above all, begins anew with each start.
//
// Its services are started again when they end, as systemd does it, so that
// faults can be caused from outside ([Host.RestartDocker] and others) and what
// comes of them is what would come of them on a company's host.
package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"dagger.io/dagger"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// User may log in, with a key, and is in the group docker.
const User = "deploy"

// Admin may log in to a bare host, and sudo makes it root without a password.
const Admin = "admin"

// PackagesHost is how a bare host calls the server of its option Packages.
const PackagesHost = "packages"

// disk is where the host's disk is mounted; the boot script knows it.
const disk = "/state"

// stopTime is how long an orderly stop may take. Docker allows its containers
// up to 15 s.
const stopTime = 40 * time.Second

// Options say what host to start.
type Options struct {
	// Client is a session of the engine that runs the host.
	Client *dagger.Client
	// Mirror is the registry on this machine, such as "localhost:5000", that
	// the host's Docker uses as mirror for docker.io. Without it that is Hub, as
	// host or host:port, or docker.io itself.
	Mirror, Hub string
	// Image is the Debian image that the host is built on, and with it the
	// generation of its Docker; empty for debian:bookworm-slim.
	Image string
	// ComposePlugin is the path of the docker-compose binary to install.
	ComposePlugin string
	// AuthorizedKey is the public key that may log in, as authorized_keys
	// has it.
	AuthorizedKey string
	// HostKey is the private key of the SSH server in PEM. Unset means a
	// new one.
	HostKey secret.Secret
	// Name tells hosts of one session apart. It is the host's name in the
	// engine's network, and names its disk: two hosts that run at the same
	// time must not share it, whatever session they belong to.
	Name string
	// HTTPPort is the port of the host behind SiteAddress, 8080 for
	// instance.
	HTTPPort int
	// Bare makes a server as it is rented: a Debian with systemd, an SSH server and
	// sudo, into which root may log in, and [Admin]. Its whole root file system is its
	// disk. Docker's settings are there and name the mirror; Docker is not. It ends
	// by Cut and Close, and not by Stop.
	Bare bool
	// Packages is a server on this machine, such as "localhost:8000", that a bare
	// host reaches as [PackagesHost] under the same port; empty for none.
	Packages string
	// Fresh empties the disk at the first start. Without it the host goes
	// on with what an earlier one of the same name left, one that was
	// stopped or cut off but not closed.
	Fresh bool
	// Jump starts a second host, with only an SSH server, from which this
	// one can be reached by its name.
	Jump bool
	// Log gets what the package itself reports.
	Log zerolog.Logger
}

// Host is a deploy host. Its methods must not be called at the same time.
type Host struct {
	options  Options
	hostKey  ssh.PublicKey
	service  *dagger.Service
	jump     *dagger.Service
	tools    *dagger.Container // to look into the disk with
	tunnels  []*dagger.Service
	forwards []*portForward
	// direct is the host's address in the engine's network, where that can be
	// reached from here, and jumpDirect that of the jump host.
	direct, jumpDirect atomic.Pointer[string]

	sshAddress, siteAddress, jumpAddress, faultAddress string
}

// Start builds the host's image if needed, starts the host and returns it once
// its Docker and SSH answer. The caller closes it.
func Start(ctx context.Context, options Options) (*Host, error) {
	h := &Host{options: options}
	if err := h.start(ctx); err != nil {
		return nil, errors.Join(err, h.Close(context.WithoutCancel(ctx)))
	}
	return h, nil
}

func (h *Host) start(ctx context.Context) error {
	begun := time.Now()
	key := h.options.HostKey
	if !key.IsSet() {
		var err error
		if key, err = NewHostKey(); err != nil {
			return err
		}
	}
	signer, err := ssh.ParsePrivateKey([]byte(key.Reveal()))
	if err != nil {
		return fmt.Errorf("read host key: %w", err)
	}
	h.hostKey = signer.PublicKey()

	build := h.container
	if h.options.Bare {
		build = h.bare
	}
	container, err := build(ctx, key)
	if err != nil {
		return err
	}
	var run string
	if h.options.Fresh {
		run = rand.Text()
	}
	if h.service, err = h.pin(ctx, container.
		WithMountedCache(disk, h.disk()).
		WithEnvVariable("RUN", run).
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"/usr/local/sbin/boot"}, InsecureRootCapabilities: true, NoInit: h.options.Bare}).
		WithHostname(h.options.Name)); err != nil {
		return fmt.Errorf("build host: %w", execError(err))
	}
	if _, err := h.service.Start(ctx); err != nil {
		return fmt.Errorf("start host: %w", execError(err))
	}
	if err := h.locate(ctx); err != nil {
		return err
	}
	if h.sshAddress, err = h.tunnel(ctx, h.service, 22, 0); err != nil {
		return err
	}
	if h.siteAddress, err = h.tunnel(ctx, h.service, h.options.HTTPPort, freePort(ctx, h.options.HTTPPort)); err != nil {
		return err
	}
	if h.options.Jump {
		if h.jump, err = h.pin(ctx, container.
			AsService(dagger.ContainerAsServiceOpts{Args: []string{"/usr/local/sbin/jump"}}).
			WithHostname(h.options.Name+"-jump")); err != nil {
			return fmt.Errorf("build jump host: %w", execError(err))
		}
		if _, err := h.jump.Start(ctx); err != nil {
			return fmt.Errorf("start jump host: %w", execError(err))
		}
		if err := h.locateJump(ctx); err != nil {
			return err
		}
		if h.jumpAddress, err = h.tunnel(ctx, h.jump, 22, 0); err != nil {
			return err
		}
	}
	h.options.Log.Info().Str("ssh", h.sshAddress).Str("site", h.siteAddress).Stringer("took", time.Since(begun).Round(time.Millisecond)).Msg("deploy host is up")
	return nil
}

func (h *Host) disk() *dagger.CacheVolume { return diskOf(h.options.Client, h.options.Name) }

// pin returns the service under the identity that it has now, so that each
// later call means the same one.
func (h *Host) pin(ctx context.Context, service *dagger.Service) (*dagger.Service, error) {
	id, err := service.ID(ctx)
	if err != nil {
		return nil, err
	}
	return h.options.Client.LoadServiceFromID(id), nil
}

// SSHAddress is where the SSH server answers, "127.0.0.1:port". It stays the
// same over Stop and Start.
func (h *Host) SSHAddress() string { return h.sshAddress }

// SiteAddress is where HTTPPort of the host answers: on the same port of this
// machine if that was free, else on another.
func (h *Host) SiteAddress() string { return h.siteAddress }

// JumpAddress is where the jump host's SSH server answers, if there is one.
// It has the host's keys and user.
func (h *Host) JumpAddress() string { return h.jumpAddress }

// InnerAddress is where the host's SSH server answers for the jump host.
func (h *Host) InnerAddress() string { return h.options.Name + ":22" }

// HostKey is the public key of the SSH server.
func (h *Host) HostKey() ssh.PublicKey { return h.hostKey }

// Stop shuts the host down in order: containers first, as Docker does.
func (h *Host) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if _, err := h.service.Stop(ctx); err != nil {
		return fmt.Errorf("stop host: %w", err)
	}
	return nil
}

// Cut ends the host at once, as a power cut does.
func (h *Host) Cut(ctx context.Context) error {
	if _, err := h.service.Stop(ctx, dagger.ServiceStopOpts{Kill: true}); err != nil {
		return fmt.Errorf("cut host: %w", err)
	}
	return nil
}

// Start boots the host again after Stop or Cut, with its disk as it was and
// at the same addresses.
func (h *Host) Start(ctx context.Context) error {
	if _, err := h.service.Start(ctx); err != nil {
		return fmt.Errorf("start host: %w", execError(err))
	}
	return h.locate(ctx)
}

// Logs returns the end of the host's logs: boot, Docker, cron and SSH. It works
// whether the host runs or not.
func (h *Host) Logs(ctx context.Context) (string, error) {
	out, err := h.look(ctx, "cd "+disk+"/var/log && tail -n 200 boot.log dockerd.log cron.log sshd.log 2>/dev/null || true")
	if err != nil {
		return "", fmt.Errorf("read the host's logs: %w", err)
	}
	return out, nil
}

// look runs a command that sees the host's disk.
func (h *Host) look(ctx context.Context, script string) (string, error) {
	return anew(ctx, h.tools.WithMountedCache(disk, h.disk()), script)
}

// Close ends the host and empties its disk.
func (h *Host) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopTime)
	defer cancel()
	var errs []error
	for _, f := range h.forwards {
		errs = append(errs, f.close())
	}
	for _, tunnel := range h.tunnels {
		if _, err := tunnel.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close tunnel: %w", err))
		}
	}
	for _, service := range []*dagger.Service{h.jump, h.service} {
		if service == nil {
			continue
		}
		if _, err := service.Stop(ctx, dagger.ServiceStopOpts{Kill: true}); err != nil {
			errs = append(errs, fmt.Errorf("end host: %w", err))
		}
	}
	if h.service != nil {
		errs = append(errs, EmptyDisk(ctx, h.options.Client, h.options.Name))
	}
	return errors.Join(errs...)
}

// NewHostKey makes a private key for an SSH server, in PEM.
func NewHostKey() (secret.Secret, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("make host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return secret.Secret{}, fmt.Errorf("make host key: %w", err)
	}
	return secret.New(string(pem.EncodeToMemory(block))), nil
}

// execError adds the end of a failed command's output, which Dagger's error
// leaves out.
func execError(err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	output := strings.Split(strings.TrimSpace(exec.Stdout+"\n"+exec.Stderr), "\n")
	return fmt.Errorf("%w\n%s", err, strings.Join(output[max(0, len(output)-15):], "\n"))
}
