#!/bin/bash
# Causes the fault that its input names, and says "done" when it has happened.
# The boot script starts again what ends here.
set -eu

# ended PID: waits until a process is gone.
ended() { while kill -0 "$1" 2>/dev/null; do sleep 0.02; done; }

# Docker answers again, and not the old one.
docker_back() {
	ended "$1"
	until docker version >/dev/null 2>&1; do sleep 0.05; done
}

read -r fault
case $fault in
restart-docker)
	# What "systemctl restart docker" and an upgrade of its package do: Docker
	# stops all containers and, when it is back, starts those again that have a
	# restart policy. containerd is a service of its own and stays.
	old=$(pidof dockerd)
	kill -TERM "$old"
	docker_back "$old"
	;;
kill-docker)
	# A crash: containers run on without it, until its successor finds them and
	# ends them: there is no live-restore here.
	old=$(pidof dockerd)
	kill -KILL "$old"
	docker_back "$old"
	;;
crash-docker)
	# What takes the engine with all that belongs to it: the parents of the
	# containers end too, so nothing looks after these any more. containerd is a
	# service of its own and stays.
	old=$(pidof dockerd)
	# shellcheck disable=SC2046 # a list
	kill -KILL "$old" $(pgrep -f '^/usr/bin/containerd-shim')
	docker_back "$old"
	;;
kill-ssh)
	# The server and those of its children that serve sessions. What the
	# sessions have started goes on.
	# Newer ones have a program of its own for a session.
	killed=$(pidof sshd sshd-session sshd-auth)
	# shellcheck disable=SC2086 # a list
	kill -KILL $killed
	for pid in $killed; do ended "$pid"; done
	# Back when it greets.
	until { read -r -t 2 _ </dev/tcp/127.0.0.1/22; } 2>/dev/null; do sleep 0.05; done
	;;
small-volumes)
	# Docker's volumes get a file system of their own, in memory, that has
	# little room left. The boot script may not start Docker again before that;
	# the process above it has the same arguments, but another name.
	boot=$(pgrep -o -x boot)
	old=$(pidof dockerd)
	kill -STOP "$boot"
	kill -TERM "$old"
	# Its parent, the boot script, is stopped and does not collect it.
	while state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$old/status" 2>/dev/null) && [ "$state" != Z ]; do sleep 0.02; done
	cd /var/lib/docker/volumes
	mkdir /run/volumes
	mount -t tmpfs -o "size=$(($(du -sk . | cut -f1) + 48 * 1024))k" volumes /run/volumes
	cp -a . /run/volumes
	mount --move /run/volumes /var/lib/docker/volumes
	kill -CONT "$boot"
	docker_back "$old"
	;;
large-volumes)
	mount -o remount,size=90% /var/lib/docker/volumes
	;;
*)
	echo "no fault $fault"
	exit 1
	;;
esac
echo "done"
