#!/bin/sh
# migrate each site
set -eu

docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site erp.example.com migrate
docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' exec -T backend bench --site shop.example.com migrate
