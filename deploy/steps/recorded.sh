# What is recorded in the folder on the host: for the steps of a run, and for
# what the client runs on the host directly. It needs $dir, the folder, and
# $project, the compose project. A release has .env, compose-files, services and
# release.json, whichever version of the pipeline recorded it.

# Functions with a body in parentheses keep their variables to themselves.

# lock_holder: the run that has the deploy lock, if there is one.
lock_holder() { sed -n 's/^run=//p' "$dir/lock" 2>/dev/null | head -n 1; }

# images VERSION…: a line with version and image of each release.
images() (
	for version; do
		shift
		[ ! -f "$dir/releases/$version/.env" ] || set -- "$@" "$dir/releases/$version/.env"
	done
	[ "$#" = 0 ] || awk -F "'" '/^IMAGE=/ { n = split(FILENAME, part, "/"); print part[n - 1], $2 }' "$@"
)

# compose VERSION ARGUMENTS…: docker compose with the set that a release was
# recorded with.
compose() (
	at=$dir/releases/$1
	shift
	# Options that name the set go in front: they are added at the end, and
	# then everything that was there before is moved behind them.
	left=$#
	while read -r name; do set -- "$@" -f "$at/$name"; done <"$at/compose-files"
	set -- "$@" --env-file "$at/.env"
	while [ "$left" -gt 0 ]; do
		word=$1
		shift
		set -- "$@" "$word"
		left=$((left - 1))
	done
	docker compose -p "$project" "$@"
)

# services VERSION ROLE…: the services of a release that have one of the roles.
services() (
	at=$dir/releases/$1/services
	shift
	for role; do sed -n "s/^$role //p" "$at"; done
)

# missing_images VERSION: the images of a release's set that are not on this
# host. It fails where compose can't say which images the set has.
missing_images() (
	listed=$(compose "$1" config --images </dev/null) || exit
	[ -n "$listed" ] || {
		echo "the compose set of $1 names no image"
		exit 1
	} >&2
	docker image inspect $listed >/dev/null 2>&1 </dev/null || printf '%s\n' "$listed" | sort -u | while read -r one; do
		docker image inspect "$one" </dev/null >/dev/null 2>&1 || echo "$one"
	done
)
