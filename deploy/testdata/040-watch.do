#!/bin/sh
# begin to measure whether the site answers
set -eu

# An image is on every host that gets here; curl is not.
docker rm --force erp-watch-000007-1.0.1-abcd >/dev/null 2>&1 || true
docker run --detach --init --name erp-watch-000007-1.0.1-abcd --network host --pull never --entrypoint bash 127.0.0.1:5000/desired/erp@sha256:1111 -c 'last=
while :; do
	read -r before _ </proc/uptime
	code=$(curl --silent --output /dev/null --max-time 2 --write-out '\''%{http_code}'\'' \
		--header "Host: $2" "http://127.0.0.1:$1/api/method/ping")
	read -r after _ </proc/uptime
	[ "$code" = "$last" ] || echo "$before $after $code"
	last=$code
	sleep 0.1
done' watch 8080 erp.example.com
