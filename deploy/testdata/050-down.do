#!/bin/sh
# take the running release down, with the compose set it was brought up with
set -eu

docker compose -p erp -f '/srv/erp next/releases/1.0.0/compose-main.yaml' -f '/srv/erp next/releases/1.0.0/old.yaml' --env-file '/srv/erp next/releases/1.0.0/.env' --profile '*' down --remove-orphans
