package image

import (
	"context"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// usePacker makes the stage that fetches and packs the only one of the build.
func (b *Builder) usePacker(lock release.Lock) {
	if b.packer == nil {
		b.packer = b.newPacker(lock)
	}
}

// newPacker is the stage with what fetches sources and makes layers.
func (b *Builder) newPacker(lock release.Lock) *stage {
	text := install(append([]string{"ca-certificates", "git", "isal", "libdeflate-tools", "openssl"}, sshPackages(lock)...)...) + noTrustUpdates
	return &stage{
		name: "packer", key: keyOf("packer", lock.Bases[packerBase], text),
		build: func(s *stage, _ inputs) *dagger.Container {
			c := b.from(lock, packerBase, b.native)
			if b.Mirrors.Apt.IsSet() {
				python, _ := bases(lock)
				c = c.WithMountedFile(publicTrust, b.from(lock, python, b.native).File("/etc/ssl/certs/ca-certificates.crt"))
			}
			return b.script(c, s, text)
		},
		pack: wholePassing,
	}
}

// wholePassing packs the whole file system of a container in which something
// is built.
func wholePassing(_ context.Context, c *dagger.Container) packing {
	return packing{from: c.Rootfs(), at: ".", seconds: epoch, exclude: notFiles, before: forget, passing: true}
}

// notFiles are what is there only while a command runs.
var notFiles = []string{"./proc/*", "./sys/*", "./dev/*", "./run/*", "./tmp/*"}

// forgetCAs removes the links to CAs that are not in the tree: what a link means
// is decided by the tree, which is not the root here. Some links lead to links.
const forgetCAs = `
for _ in 1 2; do
	find ./etc/ssl/certs -type l 2>/dev/null | while read -r link; do
		to=$(readlink "$link")
		case $to in /*) to=.$to ;; *) to=./etc/ssl/certs/$to ;; esac
		[ -e "$to" ] || [ -L "$to" ] || rm "$link"
	done
done
`

// ownCAs writes the list of CAs anew, of those that the tree has. An engine adds
// a machine's extra CAs to it and, without the command that noTrustUpdates takes
// away, leaves them there: another machine that uses the stage would trust them.
const ownCAs = `
if [ -e ./etc/ca-certificates.conf ]; then
	{
		grep -v '^[#!]' ./etc/ca-certificates.conf | sed 's,^,./usr/share/ca-certificates/,'
		find ./usr/local/share/ca-certificates -name '*.crt' 2>/dev/null | sort
	} | while read -r ca; do
		[ ! -f "$ca" ] || sed '$a\' "$ca"
	done >./etc/ssl/certs/ca-certificates.crt
fi
`

// forget removes what differs from one installation to the next, and what is
// left of a machine's extra CAs.
const forget = forgetCAs + ownCAs + `
rm -rf ./var/lib/apt/lists ./var/cache/apt ./var/cache/ldconfig ./var/cache/debconf ./var/log ./var/backups
rm -f ./etc/machine-id ./etc/passwd- ./etc/group- ./etc/shadow- ./etc/gshadow- ./etc/.pwd.lock ./etc/mtab ./var/lib/dpkg/*-old ./var/lib/dbus/machine-id
find . -xdev -name __pycache__ -prune -exec rm -rf {} +
mkdir -p ./var/lib/apt/lists/partial ./var/cache/apt/archives/partial ./var/log
`
