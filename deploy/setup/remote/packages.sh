# packages NAME…: installs Debian packages. An installation that was cut off is finished
# first, and another one under way waited for.
packages() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
	dpkg --configure -a
	set -- --yes --no-install-recommends -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install "$@"
	apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null
	apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}
# start SERVICE: starts it, and has systemd do so with the host.
start() {
	if [ -d /run/systemd/system ]; then
		systemctl enable --now "$1" </dev/null
	else
		service "$1" start </dev/null
	fi
}
