# Gives the proxy of the live release in the folder $1 and the project $2 the certificate
# on standard input, in place of the one it has, and prints what is served then at the
# port $4 for the domains $5…, as the program $3 sees it. Exit code 44 means that a run is
# under way, 45 that the live release has no certificate of its own, 46 that the proxy does
# not run, and 47 that it goes on serving another one.
set -eu
umask 077
dir=$1 project=$2 look=$3 port=$4
shift 4
[ ! -e "$dir/lock" ] || exit 44
kept=$(readlink -f "$dir/current")/certificate.yaml
[ -e "$kept" ] || exit 45
proxy=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter label=com.docker.compose.service=traefik </dev/null)
[ -n "$proxy" ] || exit 46
trap 'rm -f -- "$kept.part"' EXIT
cat >"$kept.part"
[ ! -e "$dir/lock" ] || exit 44
for one in $proxy; do
	docker exec -i "$one" sh -euc 'umask 077; cd /certificates; cat >.certificate.part; mv .certificate.part certificate.yaml' <"$kept.part"
	at=$(docker port "$one" 443/tcp </dev/null | sed -n 's/:[0-9]*$//p' | head -n 1)
done
mv "$kept.part" "$kept"
case $at in 0.0.0.0 | '' | '[::]' | ::) at=127.0.0.1 ;; esac
image=$(images "$(basename "${kept%/*}")" | cut -d ' ' -f 2)
tries=0
until said=$(docker run --rm --init --interactive --network host --pull never --entrypoint /home/frappe/frappe-bench/env/bin/python "$image" \
	-c "$look" "$at" "$port" "$@" <"$kept" 2>&1); do
	tries=$((tries + 1))
	[ "$tries" -lt 20 ] || {
		printf '%s\n' "$said"
		exit 47
	}
	sleep 1
done
printf '%s\n' "$said"
