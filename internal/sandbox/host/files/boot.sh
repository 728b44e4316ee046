#!/bin/bash
# Boots the deploy host: what must outlive a restart comes from /state, then
# the Docker engine starts, then cron, and at last the SSH server, so that
# whoever can connect finds everything running. From then on it is what systemd
# is on other hosts: a service that ends is started again.
#
# RUN names the run of the sandbox: the disk of another run is emptied. An
# empty RUN takes the disk as it is.
set -eu

say() { echo "boot: $(date -u +%FT%TZ) $*" | tee -a /var/log/boot.log >&2; }

disk="/home /srv /opt /var/log /var/spool/cron /var/lib/containerd /var/lib/docker"
if [ ! -e /state/run ] || { [ -n "$RUN" ] && [ "$(cat /state/run)" != "$RUN" ]; }; then
	find /state -mindepth 1 -delete
	for dir in $disk; do
		mkdir -p "$dir" "/state$dir"
		cp -a "$dir/." "/state$dir"
	done
	echo "$RUN" >/state/run
fi
# Docker's overlays can't lie on the overlay that a container's root is.
for dir in $disk; do
	mkdir -p "$dir"
	mount --bind "/state$dir" "$dir"
done
mkdir -p /run/sshd
# The engine gives another address at every start.
hostname -I | cut -d' ' -f1 >/state/address
# The kernel's word for "since the last boot" is about the machine below.
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
say "pid $$"

# With cgroup v2 a group that holds processes can't hand controllers down:
# everything that runs here moves into a child, and containers get siblings.
groups=/sys/fs/cgroup
if [ -e $groups/cgroup.controllers ]; then
	own=$groups$(sed -n 's/^0:://p' /proc/self/cgroup)
	[ -e "$own/cgroup.procs" ] || own=$groups
	mkdir -p "$own/boot"
	for pid in $(cat "$own/cgroup.procs"); do
		echo "$pid" >"$own/boot/cgroup.procs" 2>/dev/null || true
	done
	for controller in $(cat "$own/cgroup.controllers"); do
		echo "+$controller" >"$own/cgroup.subtree_control" 2>/dev/null || say "no controller $controller"
	done
fi

declare -A commands=(
	[containerd]="containerd"
	[dockerd]="dockerd --containerd=/run/containerd/containerd.sock"
	[cron]="cron -f"
	[sshd]="/usr/sbin/sshd -D -e"
	[faults]="socat TCP-LISTEN:7,reuseaddr,fork EXEC:/usr/local/sbin/fault"
)
# The process of each service, and the service of each process.
declare -A process name

# Each service gets a session of its own: a stop of the host reaches this
# script alone, which ends them in order.
start() {
	# shellcheck disable=SC2086 # a command with its arguments
	setsid ${commands[$1]} >>"/var/log/$1.log" 2>&1 </dev/null &
	process[$1]=$!
	name[$!]=$1
}

stop() {
	trap '' TERM INT
	say "stopping"
	kill "${process[sshd]}" "${process[cron]}" "${process[faults]}" "${process[dockerd]}" 2>/dev/null || true
	wait "${process[dockerd]}" || true
	kill "${process[containerd]}" 2>/dev/null || true
	wait "${process[containerd]}" || true
	exit 0
}

# The first start has to succeed.
begin() {
	local service=$1
	shift
	start "$service"
	until "$@" >/dev/null 2>&1; do
		if ! kill -0 "${process[$service]}" 2>/dev/null; then
			say "$service does not start:"
			tail -n 20 "/var/log/$service.log" >&2
			exit 1
		fi
		sleep 0.1
	done
}

begin containerd test -S /run/containerd/containerd.sock
begin dockerd docker version
start cron
start faults
start sshd
trap stop TERM INT

while :; do
	ended=
	wait -n -p ended || true
	service=${name[${ended:-0}]:-}
	[ "$service" ] || continue
	say "$service ended, starting it again"
	unset "name[$ended]"
	start "$service"
done
