# packages NAME…: installs Debian packages, and removes none for it. An installation that
# was cut off is finished first, and another one under way waited for, as a new server
# has in its first minutes.
packages() {
	export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
	patient dpkg --force-confdef --force-confold --configure -a
	patient apt-get -q update
	apt-get -q -o DPkg::Lock::Timeout=300 --yes --no-install-recommends --no-remove \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install "$@" </dev/null
}
# patient COMMAND…: runs it again, for five minutes, while another program has a lock.
patient() {
	tries=0
	until said=$("$@" </dev/null 2>&1); do
		tries=$((tries + 1))
		case $said in *lock*) ;; *) tries=150 ;; esac
		if [ "$tries" -ge 150 ]; then
			printf '%s\n' "$said" >&2
			return 1
		fi
		sleep 2
	done
	printf '%s\n' "$said"
}
# start SERVICE: starts it, and has systemd do so with the host.
start() {
	if [ -d /run/systemd/system ]; then
		systemctl enable --now "$1" </dev/null
	else
		service "$1" start </dev/null
	fi
}
