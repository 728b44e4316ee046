#!/bin/sh
# Boots the deploy host: what must outlive a restart comes from /state, then
# the Docker engine starts, then cron, and at last the SSH server, so that
# whoever can connect finds everything running.
#
# RUN names the run of the sandbox: the disk of another run is emptied. An
# empty RUN takes the disk as it is.
set -eu

say() { echo "boot: $*" >&2; }

if [ ! -e /state/run ] || { [ -n "$RUN" ] && [ "$(cat /state/run)" != "$RUN" ]; }; then
	say "first start: emptying the disk"
	find /state -mindepth 1 -delete
	for dir in /home /srv /opt /var/log /var/spool/cron /var/lib/docker; do
		mkdir -p "$dir" "/state$dir"
		cp -a "$dir/." "/state$dir"
	done
	echo "$RUN" >/state/run
fi
# Docker's overlays can't lie on the overlay that a container's root is.
for dir in /home /srv /opt /var/log /var/spool/cron /var/lib/docker; do
	mkdir -p "$dir"
	mount --bind "/state$dir" "$dir"
done
mkdir -p /run/sshd
echo "boot: $(date -u +%FT%TZ) pid $$" | tee -a /var/log/boot.log >&2

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

# Each service gets a session of its own: a stop of the host reaches this
# script alone, which ends them in order.
setsid dockerd >>/var/log/dockerd.log 2>&1 &
dockerd=$!
until docker version >/dev/null 2>&1; do
	if ! kill -0 $dockerd 2>/dev/null; then
		say "dockerd ended:"
		tail -n 20 /var/log/dockerd.log >&2
		exit 1
	fi
	sleep 0.1
done
setsid cron -f >>/var/log/cron.log 2>&1 &
cron=$!
setsid /usr/sbin/sshd -D -e >>/var/log/sshd.log 2>&1 &
sshd=$!

stop() {
	trap '' TERM INT
	say "stopping"
	kill $sshd $cron $dockerd 2>/dev/null || true
	wait $dockerd || true
	exit 0
}
trap stop TERM INT

# Docker, cron and SSH are the host: when one ends, it is down.
while kill -0 $dockerd 2>/dev/null && kill -0 $sshd 2>/dev/null; do
	sleep 1 &
	wait $! || true
done
say "dockerd or sshd ended"
tail -n 20 /var/log/dockerd.log /var/log/sshd.log >&2
exit 1
