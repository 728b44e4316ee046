package image

import "strings"

const (
	aptInstall = `
apt-get $APT_OPTIONS update -q
apt-get $APT_OPTIONS install -q --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 `
	aptClean = `
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
find /etc/ssl/certs -lname '/usr/local/share/ca-certificates/*' -delete 2>/dev/null || true
`
)

// install is the script that installs Debian packages and leaves neither
// archives nor package lists behind, nor links to CAs that were there only
// for the time of the exec.
func install(packages ...string) string {
	return "export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=1577836800" + aptInstall + strings.Join(packages, " ") + aptClean
}
