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
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"dagger.io/dagger"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

//go:embed files
var files embed.FS

// User is the one who may log in, with a key. It is in the group docker.
const User = "deploy"

// image is what the host is built on.
const image = "debian:bookworm-slim"

// disk is where the host's disk is mounted; the boot script knows it.
const disk = "/state"

// stopTime is how long an orderly stop may take. Docker gives its containers
// up to 15 s.
const stopTime = 40 * time.Second

// Options say what host to start.
type Options struct {
	// Client is a session of the engine that runs the host.
	Client *dagger.Client
	// Mirror is the registry on this machine, such as "localhost:5000", that
	// the host's Docker uses as mirror for docker.io.
	Mirror string
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
	// HTTPPort is the port of the host that SiteAddress leads to, 8080 for
	// instance.
	HTTPPort int
	// Fresh empties the disk at the first start. Without it the host goes
	// on with what an earlier one of the same name left, one that was
	// stopped or cut off but not closed.
	Fresh bool
	// Jump starts a second host, with an SSH server alone, from which this
	// one can be reached by its name.
	Jump bool
	// Log gets what the package itself has to say.
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

// Start builds the host's image if needed, starts it and gives it once its
// Docker and SSH answer. The caller closes it.
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

	container, err := h.container(key)
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
		AsService(dagger.ContainerAsServiceOpts{Args: []string{"/usr/local/sbin/boot"}, InsecureRootCapabilities: true}).
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

// container is the host's root file system.
func (h *Host) container(key secret.Secret) (*dagger.Container, error) {
	_, port, err := net.SplitHostPort(h.options.Mirror)
	if err != nil {
		return nil, fmt.Errorf("read mirror address: %w", err)
	}
	mirrorPort, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("read mirror address: %w", err)
	}
	client := h.options.Client
	h.tools = client.Container().From(image)
	mirror := client.Host().Service([]dagger.PortForward{{Backend: mirrorPort, Frontend: mirrorPort}})
	daemon := fmt.Sprintf("{\n  \"registry-mirrors\": [\"http://mirror:%s\"],\n  \"insecure-registries\": [\"mirror:%s\", \"10.0.0.0/8\"],\n  \"storage-driver\": \"overlay2\"\n}\n", port, port)
	executable := dagger.ContainerWithNewFileOpts{Permissions: 0o755}
	return h.tools.
		WithExec([]string{"sh", "-c", install}).
		WithNewFile("/etc/ssh/sshd_config", text("sshd.conf")+"Subsystem sftp /usr/lib/openssh/sftp-server\n").
		WithNewFile("/usr/local/sbin/boot", text("boot.sh"), executable).
		WithNewFile("/usr/local/sbin/jump", text("jump.sh"), executable).
		WithNewFile("/usr/local/sbin/fault", text("fault.sh"), executable).
		WithNewFile("/etc/docker/daemon.json", daemon).
		WithFile("/usr/libexec/docker/cli-plugins/docker-compose", client.Host().File(h.options.ComposePlugin),
			dagger.ContainerWithFileOpts{Permissions: 0o755}).
		WithNewFile("/home/"+User+"/.ssh/authorized_keys", strings.TrimSpace(h.options.AuthorizedKey)+"\n",
			dagger.ContainerWithNewFileOpts{Permissions: 0o600, Owner: User + ":" + User}).
		WithMountedSecret("/run/secrets/ssh_host_key", client.SetSecret(h.options.Name+"-host-key", key.Reveal()),
			dagger.ContainerWithMountedSecretOpts{Mode: 0o400}).
		WithServiceBinding("mirror", mirror).
		WithExposedPort(22), nil
}

// install puts the host's packages in. The keys that come with the SSH
// server's package would be the same on every host; and the links to the
// machine's extra CAs, lent by the engine, must not stay.
const install = `set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends openssh-server docker.io iptables cron procps socat ca-certificates
rm -rf /etc/ssh/ssh_host_* /var/lib/apt/lists/* /var/cache/apt/*
useradd --create-home --shell /bin/bash --groups docker --password '*' ` + User + `
install -d -m 700 -o ` + User + ` -g ` + User + ` /home/` + User + `/.ssh
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete
find -L /etc/ssl/certs -type l -delete
`

func (h *Host) disk() *dagger.CacheVolume { return diskOf(h.options.Client, h.options.Name) }

// pin gives the service under the identity that it has now, so that each
// later call means the same one.
func (h *Host) pin(ctx context.Context, service *dagger.Service) (*dagger.Service, error) {
	id, err := service.ID(ctx)
	if err != nil {
		return nil, err
	}
	return h.options.Client.LoadServiceFromID(id), nil
}

// tunnel makes a port of a service reachable at a port of this machine; 0 is
// any port. It stays over a stop and start of the service.
//
// Dagger's own tunnel is for an engine on another machine alone: it ends for
// good, without a word, when one of its connections is cut off by the host
// while something is sent. It also listens on all addresses of this machine.
func (h *Host) tunnel(ctx context.Context, service *dagger.Service, port, local int) (string, error) {
	address := &h.direct
	if service == h.jump {
		address = &h.jumpDirect
	}
	if address.Load() != nil {
		d, err := open(ctx, local, func() string { return net.JoinHostPort(*address.Load(), strconv.Itoa(port)) })
		if err != nil {
			return "", fmt.Errorf("open tunnel to port %d: %w", port, err)
		}
		h.forwards = append(h.forwards, d)
		return d.address(), nil
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

// Forward makes another port of the host reachable and gives the address,
// "127.0.0.1:port", which stays until Close.
func (h *Host) Forward(ctx context.Context, port int) (string, error) {
	return h.tunnel(ctx, h.service, port, 0)
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

// Cut ends the host at once, as when its power goes.
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

// Logs gives the end of the host's logs: boot, Docker, cron and SSH. It works
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
	for _, d := range h.forwards {
		errs = append(errs, d.close())
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

// freePort gives the port if it is free on this machine, else 0 for any.
func freePort(ctx context.Context, port int) int {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return 0
	}
	_ = listener.Close()
	return port
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

func text(name string) string {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // embedded
	}
	return string(content)
}
