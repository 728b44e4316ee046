# Waits until Docker answers, and prints what tells this start of it from
# another: the default network is made anew at each. After a restart, what
# comes up again by itself is waited for too.
. ./lib.sh
looks=0
until created=$(docker network inspect bridge --format '{{.Created}}' 2>/dev/null); do
	looks=$((looks + 1))
	[ "$looks" -lt 3000 ] || fail "Docker does not answer"
	sleep 0.2
done
mark="$created $(cat /proc/sys/kernel/random/boot_id)"
if [ -e docker-mark ] && [ "$(cat docker-mark)" != "$mark" ]; then
	# After a crash, unlike a restart in order, Docker 20.10 takes containers
	# that it had running for ones that were stopped by request. Those that a run
	# has stopped itself stay as they are.
	for service in $(services "$active" data 2>/dev/null); do
		docker ps --all --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$service" |
			with_ids docker start >/dev/null
	done
	[ ! -e "$dir/releases/$version/services" ] || containers_of "$version" web worker scheduler | with_ids docker start >/dev/null
	if [ -n "$previous" ]; then
		[ -e old-stopped ] || containers_of "$previous" web | with_ids docker start >/dev/null
		[ -e drained ] || containers_of "$previous" worker scheduler | with_ids docker start >/dev/null
	fi
	looks=0
	while docker ps --filter "label=com.docker.compose.project=$project" --format '{{.Status}}' | grep -q -e 'starting' -e Restarting; do
		looks=$((looks + 1))
		[ "$looks" -lt 240 ] || break
		sleep 0.5
	done
fi
echo "$mark" >docker-mark
echo "$mark"
