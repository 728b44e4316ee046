# Looks at the host and prints what it finds, in sections that begin with a
# line "@name". It changes nothing. Arguments: folder, project, and where an ACME
# server is to ask this host its address, "yes" if its CA is no public one, and the
# domains.
dir=$1 project=$2 acme=$3 private=$4
shift 4
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

# What listens, in the kernel's notation, and what of it is a container's.
section listening
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { print $2 }'
section published
answer docker ps --format '{{.Label "com.docker.compose.project"}}|{{.Names}}|{{.Ports}}'
section addresses
answer hostname -I
section names
for one; do echo "$one $(answer timeout 5 getent ahosts "$one" | cut -d ' ' -f 1 | sort -u | paste -sd ' ' -)"; done
section acme
# Without a client for it, at least the port is tried.
if [ -z "$acme" ]; then
	:
elif command -v curl >/dev/null; then
	curl --silent --show-error --fail --max-time 8 --output /dev/null ${private:+--insecure} "$acme" </dev/null 2>&1
elif command -v bash >/dev/null; then
	at=$(printf '%s\n' "$acme" | sed -E 's,^[a-z]+://([^/]*).*,\1,')
	case $at in *:*) port=${at##*:} ;; *) port=443 ;; esac
	timeout 8 bash -c ': <"/dev/tcp/$1/$2"' bash "${at%:*}" "$port" </dev/null >/dev/null 2>&1 || echo "port $port of ${at%:*} can't be reached"
fi

section current
readlink "$dir/current" 2>/dev/null
section services
cat "$dir/current/services" 2>/dev/null
section releases
ls -1 "$dir/releases" 2>/dev/null
section backups
ls -1 "$dir/backups" 2>/dev/null
section after-dumps
for one in "$dir"/backups/*/after-*; do
	[ ! -e "$one" ] || basename "$(dirname "$one")"
done | sort -u
section images
# A line with version and image of each release whose image is here.
recorded=$(images $(ls -1 "$dir/releases" 2>/dev/null) 2>/dev/null)
# One question about all of them: there may be hundreds. Docker leaves out the
# name of its own registry.
{
	answer docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' $(printf '%s\n' "$recorded" | cut -d ' ' -f 2 | sort -u)
	echo
	printf '%s\n' "$recorded"
} | awk 'NF == 1 { here[$1] } NF == 2 { name = $2; sub("^(index[.])?docker[.]io/(library/)?", "", name); if (name in here) print }'
section waker
waker
section runs
ls -1 "$dir/runs" 2>/dev/null
section lock
# A power cut may have left it empty: it is there all the same.
[ ! -e "$dir/lock" ] || { echo held=yes; cat "$dir/lock"; echo; } 2>/dev/null
section last-run
# The newest one that was started: it has a journal.
last=
for file in "$dir"/runs/*/journal; do
	[ ! -f "$file" ] || last=${file%/journal}
done
last=${last##*/}
echo "$last"
[ -z "$last" ] || sh "$dir/runs/$last/runner" status 2>/dev/null
# The run that holds the lock need not be the last one.
section lock-run
holder=$(lock_holder)
word=$([ -z "$holder" ] || sh "$dir/runs/$holder/runner" status 2>/dev/null)
echo "$word"
# A run that has ended or never begun does not have it any more.
case $word in
done | undone | not-started) holder= ;;
esac
section settled
[ -z "${holder:-$last}" ] || cat "$dir/runs/${holder:-$last}/settled" 2>/dev/null
section journal
[ -z "${holder:-$last}" ] || cat "$dir/runs/${holder:-$last}/journal" 2>/dev/null
section missing-images
if [ -f "$dir/current/.env" ]; then missing_images "$(basename "$(readlink "$dir/current")")" 2>/dev/null; fi
section end
