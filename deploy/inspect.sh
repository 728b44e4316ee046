# Looks at the host and prints what it finds, in sections that begin with a
# line "@name". It changes nothing. Arguments: folder, project.
dir=$1 project=$2
LC_ALL=C
export LC_ALL
exec 2>&1

section() { printf '@%s\n' "$1"; }
# One line, or the section stays empty: then there is no answer.
answer() { "$@" </dev/null 2>/dev/null; }

section docker
answer docker version --format '{{.Server.Version}}'
section docker-error
docker version --format '{{.Server.Version}}' </dev/null 2>&1 >/dev/null | tail -n 3
section compose
answer docker compose version --short
section time
date -u +%Y-%m-%dT%H:%M:%SZ

# The nearest folder that is there tells whether the rest can be made.
parent=$dir
while [ ! -e "$parent" ]; do parent=$(dirname "$parent"); done
section writable
if [ -d "$parent" ] && [ -w "$parent" ] && [ -x "$parent" ]; then echo yes; else echo "no: $parent"; fi
section free
df -Pk "$parent" 2>/dev/null | awk 'NR == 2 { print $4 }'
section docker-free
root=$(answer docker info --format '{{.DockerRootDir}}')
df -Pk "${root:-/}" 2>/dev/null | awk 'NR == 2 { print $4 }'

section containers
answer docker compose -p "$project" ps --all --format json
section volumes
answer docker volume ls --filter label=com.docker.compose.volume \
	--format '{{.Label "com.docker.compose.project"}} {{.Label "com.docker.compose.volume"}}'
section sites
answer docker compose -p "$project" exec -T backend \
	find sites -mindepth 2 -maxdepth 2 -name site_config.json

section current
readlink "$dir/current" 2>/dev/null
section releases
ls -1 "$dir/releases" 2>/dev/null
section backups
ls -1 "$dir/backups" 2>/dev/null
section with-image
for env in "$dir"/releases/*/.env; do
	[ -f "$env" ] || continue
	image=$(sed -n "s/^IMAGE='\\(.*\\)'\$/\\1/p" "$env")
	[ -z "$image" ] || ! answer docker image inspect --format . "$image" >/dev/null || basename "$(dirname "$env")"
done
section cron
command -v crontab
section runs
ls -1 "$dir/runs" 2>/dev/null
section lock
cat "$dir/lock" 2>/dev/null
section last-run
last=$(ls -1 "$dir/runs" 2>/dev/null | sort | tail -n 1)
[ -z "$last" ] || sh "$dir/runs/$last/runner" status
# The run that holds the lock need not be the last one.
section lock-run
holder=$(sed -n 's/^run=//p' "$dir/lock" 2>/dev/null | head -n 1)
[ -z "$holder" ] || sh "$dir/runs/$holder/runner" status
section journal
[ -z "${holder:-$last}" ] || tail -n 12 "$dir/runs/${holder:-$last}/journal" 2>/dev/null
section missing-images
if [ -f "$dir/current/.env" ]; then
	# A list of "-f FILE" out of the names that the release recorded.
	set --
	while read -r name; do set -- "$@" -f "$dir/current/$name"; done <"$dir/current/compose-files"
	docker compose -p "$project" "$@" --env-file "$dir/current/.env" config --images </dev/null 2>/dev/null | sort -u |
		while read -r image; do
			docker image inspect "$image" </dev/null >/dev/null 2>&1 || echo "$image"
		done
fi
section end
