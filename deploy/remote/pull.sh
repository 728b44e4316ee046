# Pulls the image $1, unless it is there, and prints what it pulled, with the user $2 at
# the registry $3 and the password on standard input. The login lives in a folder of its
# own and goes with it: no password stays on the host.
set -eu
if docker image inspect --format '{{.Id}}' "$1" >/dev/null 2>&1; then exit; fi
config=$(mktemp -d)
trap 'rm -rf -- "$config"' EXIT
# Some shells go without that when a signal ends them.
trap 'exit 143' TERM HUP INT
if ! docker --config "$config" login --username "$2" --password-stdin ${3:+"$3"} >"$config/said" 2>&1; then
	tail -n 1 "$config/said" >&2
	exit 1
fi
docker --config "$config" pull --quiet "$1" </dev/null
