#!/bin/sh
# bring the new release up and wait until all of it is healthy; the site is made if there is none
set -eu

docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' up --detach --no-build --pull never --remove-orphans --wait --wait-timeout 600 || {
	code=$?
	docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' ps --all || true
	# Lines of service|state|health|exit code.
	unwell=$(docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' ps --all --format '{{.Service}}|{{.State}}|{{.Health}}|{{.ExitCode}}' |
		awk -F'|' '$2 == "running" && ($3 == "" || $3 == "healthy") || $2 == "exited" && $4 == 0 || $2 == "created" { next } { print $1 }' | sort -u) || true
	# shellcheck disable=SC2086 # a list
	[ -z "$unwell" ] || docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' logs --no-color --tail 40 $unwell || true
	exit "$code"
}
