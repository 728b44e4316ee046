# Installs the packages $4… and starts Docker. With a repository $1, its suite $2 and the
# architecture $3, apt is told of it before, with the key on standard input. The
# functions of packages.sh stand before it.
set -eu
repository=$1 suite=$2 architecture=$3
shift 3
if [ -n "$repository" ]; then
	install -d -m 755 /etc/apt/keyrings
	cat >/etc/apt/keyrings/docker.asc.part
	chmod 644 /etc/apt/keyrings/docker.asc.part
	mv -f /etc/apt/keyrings/docker.asc.part /etc/apt/keyrings/docker.asc
	cat >/etc/apt/sources.list.d/docker.sources.part <<-END
		Types: deb
		URIs: $repository
		Suites: $suite
		Components: stable
		Architectures: $architecture
		Signed-By: /etc/apt/keyrings/docker.asc
	END
	chmod 644 /etc/apt/sources.list.d/docker.sources.part
	mv -f /etc/apt/sources.list.d/docker.sources.part /etc/apt/sources.list.d/docker.sources
fi
[ $# = 0 ] || packages "$@"
answers() { docker version </dev/null >/dev/null 2>&1; }
answers || start docker
looks=0
until answers; do
	looks=$((looks + 1))
	[ "$looks" -le 300 ] || {
		docker version </dev/null 2>&1 >/dev/null | tail -n 1 >&2
		exit 1
	}
	sleep 0.1
done
