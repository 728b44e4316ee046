#!/bin/sh
# clear the caches, which may hold what the release before put there
set -eu

docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site erp.example.com clear-cache
docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site shop.example.com clear-cache
