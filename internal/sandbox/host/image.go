package host

import (
	"cmp"
	"context"
	"embed"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

//go:embed files
var files embed.FS

// image is what a host is built on that asks for no other, and what looks into
// the disks of all.
const image = "debian:bookworm-slim"

// container is the host's root file system.
func (h *Host) container(ctx context.Context, key secret.Secret) (*dagger.Container, error) {
	client := h.options.Client
	h.tools = client.Container().From(image)
	hub, err := h.hub(ctx)
	if err != nil {
		return nil, err
	}
	executable := dagger.ContainerWithNewFileOpts{Permissions: 0o755}
	return client.Container().From(cmp.Or(h.options.Image, image)).
		WithExec([]string{"sh", "-c", install}).
		WithNewFile("/etc/ssh/sshd_config", text("sshd.conf")+"Subsystem sftp /usr/lib/openssh/sftp-server\n").
		WithNewFile("/usr/local/sbin/boot", text("boot.sh"), executable).
		WithNewFile("/usr/local/sbin/jump", text("jump.sh"), executable).
		WithNewFile("/usr/local/sbin/fault", text("fault.sh"), executable).
		WithFile("/usr/libexec/docker/cli-plugins/docker-compose", client.Host().File(h.options.ComposePlugin),
			dagger.ContainerWithFileOpts{Permissions: 0o755}).
		WithNewFile("/home/"+User+"/.ssh/authorized_keys", strings.TrimSpace(h.options.AuthorizedKey)+"\n",
			dagger.ContainerWithNewFileOpts{Permissions: 0o600, Owner: User + ":" + User}).
		WithMountedSecret("/run/secrets/ssh_host_key", client.SetSecret(h.options.Name+"-host-key", key.Reveal()),
			dagger.ContainerWithMountedSecretOpts{Mode: 0o400}).
		With(hub).
		WithExposedPort(22), nil
}

// install puts the host's packages in. The keys that come with the SSH
// server's package would be the same on every host; and the links to the
// machine's extra CAs, lent by the engine, must not stay.
const install = `set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Newer releases have Docker's command in a package of its own, and a few
# programs that older ones have in any case.
more=
for package in docker-cli hostname; do
	if apt-cache show $package >/dev/null 2>&1; then more="$more $package"; fi
done
apt-get install -qq --yes --no-install-recommends openssh-server docker.io iptables cron procps socat ca-certificates $more
rm -rf /etc/ssh/ssh_host_* /var/lib/apt/lists/* /var/cache/apt/*
useradd --create-home --shell /bin/bash --groups docker --password '*' ` + User + `
install -d -m 700 -o ` + User + ` -g ` + User + ` /home/` + User + `/.ssh
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete
find -L /etc/ssl/certs -type l -delete
`

func text(name string) string {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // embedded
	}
	return string(content)
}
