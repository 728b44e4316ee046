package host

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// bare is the root file system that a bare host takes as its own at its first start.
func (h *Host) bare(ctx context.Context, key secret.Secret) (*dagger.Container, error) {
	hub, err := h.hub(ctx)
	if err != nil {
		return nil, err
	}
	client := h.options.Client
	h.tools = client.Container().From(image)
	authorized := strings.TrimSpace(h.options.AuthorizedKey) + "\n"
	container := client.Container().From(cmp.Or(h.options.Image, image)).
		WithExec([]string{"sh", "-c", installBare}).
		WithNewFile("/usr/local/sbin/boot", text("boot-bare.sh"), dagger.ContainerWithNewFileOpts{Permissions: 0o755}).
		With(hub).
		WithNewFile("/root/.ssh/authorized_keys", authorized, dagger.ContainerWithNewFileOpts{Permissions: 0o600}).
		WithNewFile("/home/"+Admin+"/.ssh/authorized_keys", authorized,
			dagger.ContainerWithNewFileOpts{Permissions: 0o600, Owner: Admin + ":" + Admin}).
		WithNewFile("/etc/sudoers.d/"+Admin, Admin+" ALL=(ALL) NOPASSWD: ALL\n", dagger.ContainerWithNewFileOpts{Permissions: 0o440}).
		WithMountedTemp("/run").WithMountedTemp("/tmp").
		WithMountedSecret("/host_key", client.SetSecret(h.options.Name+"-host-key", key.Reveal()),
			dagger.ContainerWithMountedSecretOpts{Mode: 0o400}).
		WithExposedPort(22)
	if h.options.Packages != "" {
		packages, _, err := h.beside(h.options.Packages)
		if err != nil {
			return nil, fmt.Errorf("read address of packages: %w", err)
		}
		container = container.WithServiceBinding(PackagesHost, packages)
	}
	return container, nil
}

// installBare puts in what a rented server has. Services start when their package is
// installed, as they do there. What systemd would set on the machine below stays out.
const installBare = `set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes --no-install-recommends systemd-sysv openssh-server sudo
rm -rf /etc/ssh/ssh_host_* /var/lib/apt/lists/* /usr/sbin/policy-rc.d /etc/machine-id
: >/etc/machine-id
for unit in systemd-sysctl.service systemd-modules-load.service dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount console-getty.service getty.target; do
	ln -sf /dev/null /etc/systemd/system/$unit
done
useradd --create-home --shell /bin/bash --password '*' ` + Admin + `
install -d -m 700 -o ` + Admin + ` -g ` + Admin + ` /home/` + Admin + `/.ssh
install -d -m 700 /root/.ssh
`
