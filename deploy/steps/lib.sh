# What the steps of a run share. A step runs in the folder of its run, where
# the file settings says what the run is about:
#   dir, project, id         the folder on the host, the compose project, the run
#   kind                     release, rollback or prune
#   strategy                 cycle or swap, as it was asked for
#   swap                     yes where new containers come up beside running ones
#   version, previous        what goes live, and what is live; empty for nothing
#   number                   the number of the run
#   image, tagged            the image by its digest, and with its tag
#   sites, first_site        the sites, with blanks between them, and the one that
#                            a first release makes. The file sites has those that
#                            the bench was found to have
#   known_sites              those that were live before
#   port                     where they answer, on the loopback
#   drain_limit              seconds that jobs have to end
#   backup_files             yes where a backup takes the files of sites too
#   restore_from             the backup that a rollback brings back
#   migrate                  yes where a migration was asked for
#   migrates_down            why a migration would lead to older apps, if it would
#   untested                 yes where the image is still smoke-tested
#   quiet_limit              seconds without a word of that after which the run ends
#   urls                     the addresses of the site with https, the one for links first
#   domains, https_port      the names that certificates are for, and where they are served
#   certificate_limit        seconds that they have to come
#   unneeded_versions        releases whose images no rollback needs
#   unneeded_backups         runs whose backups no rollback needs
#   only_copies              yes where those may go that hold what is nowhere else
set -eu
umask 077
# shellcheck source=/dev/null
. ./settings
: "${unneeded_backups?the file settings of this run is not whole: it was cut off}"
# shellcheck source=/dev/null
. ./recorded.sh
# shellcheck source=/dev/null
. ./jobs.sh
[ ! -e sites ] || sites=$(cat sites)

bench=/home/frappe/frappe-bench
backup=$dir/backups/$id
# The release whose containers do what is done before the new ones take over.
active=${previous:-$version}

# Functions with a body in parentheses keep their variables to themselves.

fail() {
	echo "$*"
	exit 1
}

# containers VERSION [FILTER…]: the containers of a release, running or not.
# Two releases may be there at the same time, in one project; compose writes
# down which files a container was made from.
containers() (
	from=$dir/releases/$1/
	shift
	for filter; do
		set -- "$@" --filter "$filter"
		shift
	done
	# That Docker does not say is not that there are none.
	listed=$(docker ps --all --no-trunc "$@" --filter "label=com.docker.compose.project=$project" \
		--filter label=com.docker.compose.oneoff=False \
		--format '{{.ID}} {{.Label "com.docker.compose.project.config_files"}}') || exit
	printf '%s\n' "$listed" |
		while read -r one files; do
			case $files in "$from"*) echo "$one" ;; esac
		done
)

# of_service SERVICE: its containers, of whatever release, running or not.
of_service() {
	docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
		--filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False
}

# containers_of VERSION ROLE…: the containers of the services of these roles.
containers_of() (
	of=$1
	shift
	for service in $(services "$of" "$@"); do
		containers "$of" "label=com.docker.compose.service=$service"
	done
)

# with_ids COMMAND… <IDS: the command with all ids as arguments, if there is one.
with_ids() (
	ids=$(cat)
	[ -z "$ids" ] || "$@" $ids
)

# within VERSION SERVICE COMMAND…: a command in a running container of a
# service, or where none runs in one of its own.
within() (
	of=$1 service=$2
	shift 2
	one=$(containers "$of" "label=com.docker.compose.service=$service" status=running | head -n 1)
	if [ -n "$one" ]; then
		docker exec -i ${DATABASE_ROOT_PASSWORD:+--env DATABASE_ROOT_PASSWORD} "$one" "$@"
	else
		compose "$of" run --rm --no-deps -T ${DATABASE_ROOT_PASSWORD:+--env DATABASE_ROOT_PASSWORD} "$service" "$@"
	fi
)

# data_containers: those of the services that hold data. They may be from a release
# of long ago, which this one left as they were.
data_containers() (
	for service in $(services "$active" data); do of_service "$service"; done
)

# as_administrator: what follows in this step may do what the database server's
# administrator may, if that server is of this project: end sessions, and put back
# what others have made in a site's database. The images of MariaDB and MySQL have
# the password in an environment or a file; it goes from environment to
# environment, and into no argument list.
as_administrator() {
	for one in $(data_containers); do
		# A database that does not run, or has no shell, says nothing.
		DATABASE_ROOT_PASSWORD=$(docker exec "$one" sh -c '
			for name in MARIADB_ROOT_PASSWORD MYSQL_ROOT_PASSWORD; do
				eval "value=\${$name:-} file=\${${name}_FILE:-}"
				[ -z "$file" ] || value=$(cat "$file")
				[ -z "$value" ] || { printf %s "$value"; exit; }
			done' 2>/dev/null </dev/null) || continue
		[ -n "$DATABASE_ROOT_PASSWORD" ] || continue
		export DATABASE_ROOT_PASSWORD
		return
	done
}

# frappe VERSION ARGUMENTS…: a command of Frappe's, run as bench runs it; bench
# itself takes half a second to begin.
frappe() (
	of=$1
	shift
	within "$of" backend sh -c "cd $bench/sites && exec ../env/bin/python -m frappe.utils.bench_helper frappe \"\$@\"" frappe "$@"
)

# site VERSION VERB ARGUMENTS… [-- VERB ARGUMENTS…]: what bench has no command for, see
# site.py and database.py. To start Python takes longer than most of it.
site() (
	of=$1
	shift
	within "$of" backend "$bench/env/bin/python" -c "$(cat database.py site.py)" "$@"
)

# site_in CONTAINER VERB ARGUMENTS…: the same in one container.
site_in() (
	one=$1
	shift
	docker exec "$one" "$bench/env/bin/python" -c "$(cat database.py site.py)" "$@" </dev/null
)

# empty_cache VERSION: for servers of a release that start after a newer one. What that
# has left in the cache they may not be able to read: they fail at it, and never get
# healthy.
empty_cache() { site "$1" flush || echo "warning: the cache is not emptied: servers of $1 may not be able to read what is in it"; }

# find_sites: asks the bench for its sites, and keeps them in the file sites.
find_sites() {
	sites=$(site "$active" bench_sites $known_sites)
	echo $sites >sites.part
	mv sites.part sites
	sites=$(cat sites)
	[ -z "$sites" ] || echo "sites: $sites"
}

# close_sites VERSION: puts the sites into maintenance mode, and waits until what
# was under way before has ended: from then on nothing is written that a dump does
# not have. What takes longer is cut off, and so not answered with success.
close_sites() (
	if [ ! -s maintenance-before ]; then
		site "$1" maintenance get $sites >maintenance-before.part
		to_disk maintenance-before.part
		mv maintenance-before.part maintenance-before
		to_disk .
	fi
	site "$1" close $sites
	at_servers await_closed 120 60
	site "$1" jobs_left >jobs-left
)

# renew_servers: has every server that runs see in what mode the sites are.
renew_servers() { at_servers renew 60; }

# at_servers VERB ARGUMENTS…: a verb of site.py in each container that answers
# visitors, of this release and the one before; one that fails is started again.
at_servers() (
	ids=$(running_servers "$version")
	[ -z "$previous" ] || [ "$previous" = "$version" ] || ids="$ids $(running_servers "$previous")"
	asking=
	for one in $ids; do
		site_in "$one" "$@" || {
			echo "they are cut off"
			docker restart --time 1 "$one" >/dev/null
		} &
		asking="$asking $!"
	done
	for one in $asking; do wait "$one"; done
)

# running_servers VERSION: the containers that answer visitors' requests with
# Frappe, as far as they run.
running_servers() (
	[ -e "$dir/releases/$1/services" ] || exit 0
	for service in $(services "$1" web | grep -vx -e frontend -e websocket); do
		containers "$1" "label=com.docker.compose.service=$service" status=running
	done
)

# sound VERSION SITE…: those of some sites that are waited for to answer. One that did
# not before the run is not; but a release has to mend the site that visitors are led
# to.
sound() (
	of=$1
	shift
	for one; do
		if [ "$of" = "$version" ] && [ "$one" = "$first_site" ] || ! grep -qxF "$one" mute 2>/dev/null; then echo "$one"; fi
	done
)

# await_open VERSION: waits until each site that is not closed is answered for by a
# release, and the one that visitors are led to through the proxy as well.
await_open() (
	# The release before may answer at another port.
	of=$1 asked=$1
	open=$(site "$of" serving $sites)
	open=$(sound "$of" $open)
	site "$of" answers $open
	for one in $open; do
		[ "$one" != "$first_site" ] || ask 200 "" "$one"
	done
)

# check_data: finds the sites, and looks whether their databases can be dumped and
# put back, and whether there is room for that. Those that are not closed are in
# open_sites then.
check_data() {
	find_sites
	open_sites=
	[ -n "$sites" ] || return 0
	as_administrator
	site "$active" fit $sites -- size "$(packs_files)" $sites -- serving $sites >surveyed || {
		cat surveyed
		# What can't be asked has said so.
		[ ! -s surveyed ] || echo "this could not be put back if the release failed: nothing was changed"
		exit 1
	}
	open_sites=$(sed -n 2p surveyed)
	set -- $(sed -n 1p surveyed)
	# The folder may be a disk of its own.
	at=$dir/backups
	[ -d "$at" ] || at=$dir
	free=$(df -Pk "$at" | awk 'NR == 2 { print $4 }')
	[ $(($1 / 1024)) -lt "$free" ] || fail "a backup may need $(($1 / 1024)) KiB in $at, and $free KiB are free: make room, or run pipeline prune"
	for one in $(data_containers); do
		free=$(docker exec "$one" sh -c '[ ! -d /var/lib/mysql ] || df -Pk /var/lib/mysql' 2>/dev/null </dev/null | awk 'NR == 2 { print $4 }')
		[ $(($2 / 1024)) -lt "${free:-$2}" ] ||
			fail "a database is put back beside the one that is there, which needs $(($2 / 1024)) KiB where the database server keeps its data, and $free KiB are free: make room"
	done
}

# find_mute: keeps in the file mute the open sites that nothing answers for as it should.
# They are not waited for in the end.
find_mute() (
	one=$(containers "$previous" label=com.docker.compose.service=backend status=running | head -n 1)
	if [ -z "$one" ] || ! site_in "$one" mute $sites >mute.part; then
		# It does not run, or not for long.
		one=
		printf '%s -\n' $open_sites >mute.part
	fi
	while read -r site_name code; do
		[ -z "$site_name" ] || [ -z "$one" ] || echo "warning: $site_name answers with $code before this release"
	done <mute.part
	cut -d ' ' -f 1 mute.part >mute
	rm mute.part
)

# packs_files [SITE]: yes where a backup takes the files of sites, or of a site: what
# the backup that is brought back would put others in the place of.
packs_files() {
	if [ "$backup_files" = yes ] || { [ -n "$restore_from" ] && ls "$restore_from/${1:-}"*-files.tar >/dev/null 2>&1; }; then
		echo yes
	fi
}

# to_disk PATH…: files, and the names in folders, are there after a power cut too. The
# runner sees to that where a step ends, for what is in the folder of its run.
to_disk() { sync -- "$@" 2>/dev/null || sync; }

# make_current VERSION: points current at a release. A link is replaced in one
# step by a rename, and by nothing else.
make_current() {
	ln -sfn "releases/$1" "$dir/.current-$id"
	mv -fT "$dir/.current-$id" "$dir/current"
	to_disk "$dir"
}

# closes_sites: whether the sites are closed and their jobs ended for this run. A
# swap without a migration closes nothing.
closes_sites() { [ -z "$swap" ] || migration_needed; }

# migration_needed: whether the run changes the databases.
migration_needed() { [ "$(head -n 1 migration 2>/dev/null)" != none ]; }

# bring_up VERSION [ARGUMENTS…]: brings a set up. If that fails, it shows the
# logs of the containers that are not healthy.
bring_up() (
	of=$1
	shift
	compose "$of" up --detach --no-build --pull never "$@" || {
		code=$?
		show_unhealthy "$of"
		exit "$code"
	}
)

# bring_up_only VERSION [SERVICE…]: brings these services up, and nothing where none
# is named: compose would bring up all of them then.
bring_up_only() (
	of=$1
	shift
	[ "$#" = 0 ] || bring_up "$of" --no-deps "$@"
)

# run_once VERSION: runs what does one thing and ends. It writes the same
# configuration again, unless that is another one with this release.
run_once() (
	for service in $(services "$1" once | grep -vx create-site); do
		compose "$1" run --rm --no-deps -T "$service"
	done
)

# The file kept names the services that stay as they are over this run.
# replaced_containers: all containers of the project but theirs;
# kept_containers: theirs.
project_containers() {
	docker ps --all --no-trunc --filter "label=com.docker.compose.project=$project" \
		--format '{{.ID}} {{.Label "com.docker.compose.service"}} {{.Label "com.docker.compose.oneoff"}}'
}
replaced_containers() { project_containers | awk 'NR == FNR { stay[$1]; next } !($2 in stay) || $3 == "True" { print $1 }' kept -; }
kept_containers() { project_containers | awk 'NR == FNR { stay[$1]; next } $2 in stay && $3 != "True" { print $1 }' kept -; }

# bring_up_data VERSION: the services that hold data run, those of a release and those
# that stay.
bring_up_data() {
	bring_up_only "$1" $(services "$1" data | grep -vxFf kept || true)
	kept_containers | with_ids docker start >/dev/null
}

# take_down VERSION: ends all containers of the project but those that stay, all
# at the same time: closed sites have nothing under way.
take_down() (
	if [ -s kept ]; then
		replaced_containers | with_ids docker stop >/dev/null
		replaced_containers | with_ids docker rm --force >/dev/null
	else
		docker ps --quiet --filter "label=com.docker.compose.project=$project" | with_ids docker stop >/dev/null
		compose "$1" --profile '*' down --remove-orphans
	fi
)

# wanted_replicas <SET: how many containers the set wants of each service that says so.
wanted_replicas() {
	awk '
		/^[^ ]/ { inside = $1 == "services:" }
		/^  [^ ]/ { service = $0; gsub(/[ ":]/, "", service) }
		inside && (/^    scale: / || /^      replicas: /) { print service, $2 }'
}

# start_beside SERVICE…: starts containers of this release beside those of another one,
# which stay as they are. compose counts all containers of a service, so as many more
# than there are is asked for as the release has of it, by the file replicas.
start_beside() (
	scales='' missing=''
	for service; do
		own=$(containers "$version" "label=com.docker.compose.service=$service")
		[ -z "$own" ] || docker start $own >/dev/null
		wanted=$(awk -v service="$service" '$1 == service { wanted = $2 } END { print wanted }' replicas)
		lacking=$((${wanted:-1} - $(echo "$own" | wc -w)))
		[ "$lacking" -gt 0 ] || continue
		count=$(of_service "$service" | wc -l)
		scales="$scales --scale $service=$((count + lacking))" missing="$missing $service"
	done
	[ -z "$missing" ] || bring_up "$version" --no-deps --no-recreate $scales $missing
)

# remove VERSION ROLE…: stops containers, with the time that jobs have to end, and
# removes them.
remove() (
	case " $* " in *" worker "*) end_workers "$1" ;; esac
	containers_of "$@" | with_ids docker stop --time "$drain_limit" >/dev/null
	containers_of "$@" | with_ids docker rm --force >/dev/null
)

# show_unhealthy VERSION: the state of the containers, and the logs of those that
# are not healthy.
show_unhealthy() (
	compose "$1" ps --all || true
	# Lines of service|state|health|exit code.
	bad=$(compose "$1" ps --all --format '{{.Service}}|{{.State}}|{{.Health}}|{{.ExitCode}}' |
		awk -F'|' '$2 == "running" && ($3 == "" || $3 == "healthy") || $2 == "exited" && $4 == 0 || $2 == "created" { next } { print $1 }' | sort -u) || true
	[ -z "$bad" ] || compose "$1" logs --no-color --tail 40 $bad || true
)

# health VERSION [ROLE…]: prints healthy, unhealthy, waiting, or try with containers
# whose health check has not been made yet.
health() (
	of=$1
	shift
	ids=$(containers "$of") || exit
	printf '%s\n' "$ids" | with_ids docker inspect --format '{{.ID}}|{{index .Config.Labels "com.docker.compose.service"}}|{{.State.Status}}|{{with .State.Health}}{{.Status}}{{end}}|{{.State.ExitCode}}|{{.RestartCount}}' |
		awk -F'|' -v roles="$*" '
			# The file services has lines of role and service.
			NR == FNR { split($0, words, " "); role[words[2]] = words[1]; next }
			roles != "" && !index(" " roles " ", " " role[$2] " ") { next }
			role[$2] == "once" && $3 == "exited" && $5 == 0 { next }
			$3 == "running" && ($4 == "" || $4 == "healthy") { next }
			$4 == "unhealthy" || $3 == "exited" || $3 == "dead" || $6 > 3 { unhealthy = 1 }
			$3 == "running" && role[$2] != "data" { try = try " " $1; next }
			{ waiting = 1 }
			END { print unhealthy ? "unhealthy" : waiting ? "waiting" : try ? "try" try : "healthy" }' "$dir/releases/$of/services" -
)

# look_up_again: starts proxies that stayed as they are again, of the kinds that look
# up only once where the containers are that they lead to.
look_up_again() (
	stayed=$(kept_containers)
	for one in $stayed; do
		[ -n "$(docker port "$one")" ] || continue
		! docker exec "$one" sh -c 'command -v nginx || command -v haproxy || command -v httpd' >/dev/null 2>&1 </dev/null ||
			docker restart "$one" >/dev/null
	done
)

# await_health VERSION [ROLE…]: waits until every container of a release, or of
# some of its services, is healthy. What Docker has not checked yet is checked here:
# its own first check comes when a whole interval has passed. What may be the reason
# where they are not is in hint.
await_health() (
	looks=0
	while [ "$looks" -lt 1500 ]; do
		found=$(health "$@")
		case $found in
		healthy) exit 0 ;;
		unhealthy) break ;;
		try*)
			good=yes
			for one in ${found#try}; do
				docker exec "$one" "$bench/env/bin/python" -c "$(cat health.py)" \
					"$(docker inspect --format '{{json .Config.Healthcheck.Test}}' "$one")" >/dev/null 2>&1 || good=
			done
			[ -z "$good" ] || exit 0
			;;
		esac
		looks=$((looks + 1))
		sleep 0.1
	done
	show_unhealthy "$1"
	fail "not all containers of $1 are well${hint-}"
)

# address_of VERSION: address and port at which the proxy of a release is reached
# from this host, as check found them in its set.
address_of() { cat "address-$1" 2>/dev/null || echo "127.0.0.1 $port"; }

# as_visitor SCRIPT ARGUMENTS…: a script that asks the proxy as a visitor does, of
# the release $asked if that is another one than this. The tools for it are in
# the new image, not on the host.
as_visitor() (
	text=$(cat visit.sh "$1")
	shift
	docker run --rm --init --network host --pull never --entrypoint bash "$image" \
		-euo pipefail -c "$text" as_visitor $(address_of "${asked:-$version}") "$@"
)

# ask CODE ASSETS SITE…: waits until each site answers with a status code
# through the proxy; with "assets" compares one that it serves with the new
# image's own.
ask() { as_visitor ask.sh "$@"; }

# await_route to NUMBER: waits until the proxy leads visitors to the release with
# a number; with "away" in place of "to", until it leads them to another one.
await_route() { as_visitor await-route.sh "$first_site" "$@"; }

# await_idle VERSION: waits until the frontend of a release has no request under way.
# One that can't be asked, because its image was made by others, is not.
await_idle() (
	looks=0
	for front in $(containers "$1" label=com.docker.compose.service=frontend status=running); do
		while
			# The question itself is one that is under way.
			busy=$(docker exec "$front" curl --silent --noproxy '*' --max-time 2 http://127.0.0.1:8081/status 2>/dev/null | awk '$1 == "Reading:" { print $2 + $4 }')
			[ "${busy:-1}" -gt 1 ]
		do
			looks=$((looks + 1))
			[ "$looks" -lt 600 ] || {
				echo "requests of more than a minute are cut off"
				exit 0
			}
			sleep 0.1
		done
	done
)

# site_in_own_container VERB ARGUMENTS…: site.py in a container of its own, of the
# release that is known to work.
site_in_own_container() {
	compose "$active" run --rm --no-deps -T ${DATABASE_ROOT_PASSWORD:+--env DATABASE_ROOT_PASSWORD} \
		backend "$bench/env/bin/python" -c "$(cat database.py site.py)" "$@"
}

# guarded COMMAND…: a command that changes the databases of closed sites, which
# sessions of others must not hold up. The guard ends when its input does.
guarded() (
	rm -f guarding
	mkfifo guarding
	site "$version" guard $sites <guarding &
	exec 3>guarding
	code=0
	"$@" 3>&- || code=$?
	exec 3>&-
	wait
	rm -f guarding
	exit "$code"
)

# restore FOLDER SITE…: puts the databases of a backup in place of those of sites,
# and the files if the backup has them.
restore() (
	folder=$1
	shift
	# What still writes is ended first: a migrate goes on when the process that
	# started it is gone.
	containers_of "$version" web worker scheduler | with_ids docker stop >/dev/null
	trap 'containers_of "$version" web | with_ids docker start >/dev/null' EXIT
	as_administrator
	for one; do
		[ -e "$folder/$one-database.sql.gz" ] || {
			echo "note: $one keeps its data: the backup in $folder does not have it"
			continue
		}
		echo "$one: back to the backup in $folder"
		site_in_own_container load "$one" "$(cat "$folder/$one-tables")" <"$folder/$one-database.sql.gz"
		[ ! -e "$folder/$one-files.tar" ] || site_in_own_container unpack "$one" <"$folder/$one-files.tar"
	done
)

# changing SITE: notes that the run begins to change a database.
changing() {
	grep -qxF "$1" migrating 2>/dev/null || echo "$1" >>migrating
	to_disk migrating .
}

# undo_changes: puts the databases that the run began to change back as they are
# in its backup.
undo_changes() {
	[ -e migrating ] || return 0
	# A site that was made by this very run goes as it came.
	[ ! -e fresh ] || return 0
	restore "$backup" $(cat migrating)
	rm -f migrating
}

# end_measuring: keeps what was measured of the downtime. That it can't be kept
# is no reason for anything to fail.
end_measuring() {
	docker logs "$project-watch-$number" >watch 2>/dev/null || true
	# A Docker that goes down meanwhile removes nothing, and starts it again.
	for _ in $(seq 60); do
		docker rm --force "$project-watch-$number" >/dev/null 2>&1 || true
		left=$(docker ps --all --quiet --filter "name=^$project-watch-$number\$" 2>/dev/null) && [ -z "$left" ] && return
		sleep 0.5
	done
}

# dump_sites VERSION FOLDER PREFIX: a dump of every site, read back. The sites are
# closed, and what others have open there is ended first.
dump_sites() (
	mkdir -p "$2"
	# A disk that is full gets back what is of no use.
	trap 'rm -f -- "$2/$3"*.part' EXIT
	as_administrator
	site "$1" end_sessions $sites
	for one in $sites; do
		dump=$2/$3$one-database.sql.gz
		# What is small is written while the database is dumped.
		{
			site "$1" tables "$one" >"$2/$3$one-tables" &&
				within "$1" backend cat "sites/$one/site_config.json" >"$2/$3$one-site_config_backup.json"
		} &
		small=$!
		site "$1" dump "$one" >"$dump.part"
		wait "$small" || fail "the backup of $one is not whole"
		# Read back whole: gzip's checksum, as many tables as there are, and the
		# line that a dump ends with.
		gzip -dc "$dump.part" | awk -v tables="$(cat "$2/$3$one-tables")" '
			/^CREATE (TABLE|SEQUENCE) / { found++ }
			/^-- Dump completed/ { completed = 1 }
			END {
				if (!completed) { print "the dump has no end"; exit 1 }
				if (!tables || found < tables) { print "the dump has " found + 0 " of " tables " tables"; exit 1 }
				print found " tables"
			}' || fail "the backup of $one is not good"
		gzip -t "$dump.part"
		mv "$dump.part" "$dump"
		echo "$one: $(wc -c <"$dump") bytes in $dump"
		if [ -n "$(packs_files "$one")" ]; then
			site "$1" pack "$one" >"$2/$3$one-files.tar.part"
			tar -tf "$2/$3$one-files.tar.part" >/dev/null || fail "the backup of the files of $one is not good"
			mv "$2/$3$one-files.tar.part" "$2/$3$one-files.tar"
		fi
	done
	sync
)
