#!/bin/sh
# The frontend: renders nginx's configuration from the environment and serves
# on port 8080.
set -eu

: "${BACKEND:=0.0.0.0:8000}"
: "${SOCKETIO:=0.0.0.0:9000}"
: "${UPSTREAM_REAL_IP_ADDRESS:=127.0.0.1}"
: "${UPSTREAM_REAL_IP_HEADER:=X-Forwarded-For}"
: "${UPSTREAM_REAL_IP_RECURSIVE:=off}"
: "${PROXY_READ_TIMEOUT:=120}"
: "${CLIENT_MAX_BODY_SIZE:=50m}"
# The number of the release, for the header X-Release.
: "${RELEASE:=}"
# Without a site name the name in the request picks the site.
# shellcheck disable=SC2016
: "${FRAPPE_SITE_NAME_HEADER:=\$host}"
export BACKEND SOCKETIO UPSTREAM_REAL_IP_ADDRESS UPSTREAM_REAL_IP_HEADER \
	UPSTREAM_REAL_IP_RECURSIVE PROXY_READ_TIMEOUT CLIENT_MAX_BODY_SIZE \
	FRAPPE_SITE_NAME_HEADER RELEASE

# Only these are replaced: nginx has variables of its own.
# shellcheck disable=SC2016
envsubst '${BACKEND} ${SOCKETIO} ${UPSTREAM_REAL_IP_ADDRESS}
	${UPSTREAM_REAL_IP_HEADER} ${UPSTREAM_REAL_IP_RECURSIVE}
	${PROXY_READ_TIMEOUT} ${CLIENT_MAX_BODY_SIZE} ${FRAPPE_SITE_NAME_HEADER} ${RELEASE}' \
	</templates/nginx/frappe.conf.template >/etc/nginx/conf.d/frappe.conf

# On SIGQUIT nginx answers the requests under way, then ends. A websocket is a
# request that does not end by itself.
exec nginx -g 'daemon off; worker_shutdown_timeout 1s;'
