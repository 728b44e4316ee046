# Writes Docker's settings, which come on standard input, and has Docker start with them
# where $1 is not empty. If it does not, the old ones are put back.
set -eu
install -d -m 755 /etc/docker
# Where it is a link, the file that it leads to is written.
settings=$(readlink -f /etc/docker/daemon.json)
(umask 077 && cat >"$settings.part")
[ -e "$settings" ] || chmod 644 "$settings.part"
rm -f "$settings.before"
if [ -e "$settings" ]; then
	chmod --reference="$settings" "$settings.part"
	cp -p "$settings" "$settings.before"
fi
mv -f "$settings.part" "$settings"
restart() {
	if [ -d /run/systemd/system ]; then
		systemctl reset-failed docker </dev/null >/dev/null 2>&1 || true
		systemctl restart docker </dev/null
	else
		service docker restart </dev/null
	fi
	looks=0
	until docker version </dev/null >/dev/null 2>&1; do
		looks=$((looks + 1))
		[ "$looks" -le 300 ] || return 1
		sleep 0.1
	done
}
wanted=$1
if [ -n "$wanted" ] && ! { running=$(docker ps --quiet </dev/null) && [ -z "$running" ]; }; then
	echo "a container runs by now: the settings count when Docker is restarted"
	wanted=
fi
if [ -n "$wanted" ] && ! restart; then
	if [ -e "$settings.before" ]; then mv -f "$settings.before" "$settings"; else rm -f "$settings"; fi
	restart || true
	echo "Docker does not start with these settings: the old ones were put back" >&2
	exit 1
fi
rm -f "$settings.before"
