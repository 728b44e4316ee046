#!/bin/sh
# ask each site for a sign of life and for an asset through the proxy, and compare the apps' versions with the manifest
set -eu

# A run that was held has a person's word that it may go on.
if [ -e held ]; then
	docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site erp.example.com set-config -p maintenance_mode 0
	docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site shop.example.com set-config -p maintenance_mode 0
	rm held
fi
docker run --rm --init --network host --pull never --entrypoint bash 127.0.0.1:5000/desired/erp@sha256:1111 -euo pipefail -c 'port=$1 assets=$2
shift 2
for site; do
	code=
	for _ in {1..120}; do
		code=$(curl --silent --output /dev/null --max-time 5 --write-out '\''%{http_code}'\'' \
			--header "Host: $site" "http://127.0.0.1:$port/api/method/ping") || true
		[ "$code" != 200 ] || break
		sleep 0.5
	done
	echo "$site answers with $code"
	[ "$code" = 200 ]
	[ "$assets" ] || continue
	# Images made by others may have them in the place of the link.
	cd /home/frappe/frappe-bench || exit
	[ -e assets/assets.json ] || cd sites || exit
	asset=$(jq --raw-output '\''[.[] | strings | select(test("[.-][A-Z0-9]{8}[.](js|css)$"))] | first // ""'\'' assets/assets.json)
	[ "$asset" ] || { echo "assets.json names no hashed asset"; exit 1; }
	curl --fail --silent --show-error --max-time 20 --header "Host: $site" "http://127.0.0.1:$port$asset" | cmp - ".$asset"
	echo "$site serves $asset"
done' ask 8080 assets erp.example.com shop.example.com
# .git is not in the image: its manifest knows what belongs there.
docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bash -euo pipefail -c '[ -f manifest.json ] || exit 0
bench version -f json | jq --raw-output --slurpfile manifest manifest.json '\''
	(map({(.app): .version}) | add) as $have
	| $manifest[0].apps[] | select((.version // "") != "" and $have[.name] != .version)
	| "\(.name) is \($have[.name] // "not there"), the manifest says \(.version)"'\'' | {
	if grep .; then exit 1; fi
}'
