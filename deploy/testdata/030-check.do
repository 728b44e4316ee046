#!/bin/sh
# check the compose set, and that all images of the new and the running release are there
set -eu

# Images are listed first: in a pipe their failure would go unnoticed.
all_there() {
	images=$("$@")
	for image in $images; do
		docker image inspect "$image" >/dev/null || { echo "image $image is not on this host"; exit 1; }
	done
}
docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' config --quiet
all_there docker compose -p erp -f '/srv/erp next/releases/1.0.1/compose-main.yaml' --env-file '/srv/erp next/releases/1.0.1/.env' config --images
# What can't come up again must not be taken down.
docker compose -p erp -f '/srv/erp next/releases/1.0.0/compose-main.yaml' -f '/srv/erp next/releases/1.0.0/old.yaml' --env-file '/srv/erp next/releases/1.0.0/.env' config --quiet
all_there docker compose -p erp -f '/srv/erp next/releases/1.0.0/compose-main.yaml' -f '/srv/erp next/releases/1.0.0/old.yaml' --env-file '/srv/erp next/releases/1.0.0/.env' config --images
