# Prints the record of the live release in the folder $1, if there is one, and
# the containers of the project $2.
if [ -f "$1/current/release.json" ]; then cat -- "$1/current/release.json"; fi
echo @containers
exec docker compose -p "$2" ps --all --format json </dev/null
