#!/bin/sh
# Options or a subcommand alone mean Traefik.
set -eu
case "${1-}" in
-* | version | healthcheck) set -- traefik "$@" ;;
esac
exec "$@"
