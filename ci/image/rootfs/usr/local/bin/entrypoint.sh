#!/bin/sh
# Points sites/assets at the assets that this image was built with, then runs
# the command. The sites volume outlives images; assets must not, or a new
# image would serve the old one's scripts.
#
# Several containers of one release start at once on the same volume, so the
# link is never absent: it is made under a name of this container's own and
# renamed over the old one.
set -eu

baked=/home/frappe/frappe-bench/assets
linked=/home/frappe/frappe-bench/sites/assets

if [ "$(readlink "$linked" || true)" != "$baked" ]; then
	if awk -v path="$linked" '$5 == path { found = 1 } END { exit !found }' /proc/self/mountinfo; then
		# A compose file written for older images mounts a volume here. A
		# mount point can't be replaced, so its contents are.
		cp -a "$baked/." "$linked/"
	else
		fresh="$linked.$(hostname).$$"
		ln -s "$baked" "$fresh"
		if [ -d "$linked" ] && [ ! -L "$linked" ]; then
			# Older images kept a real folder in the volume. rename(2) does
			# not put a link in a folder's place: the folder goes first, and
			# where another container was quicker, this has nothing to do.
			mv "$linked" "$fresh.old" 2>/dev/null || true
			rm -rf "$fresh.old"
		fi
		mv -T "$fresh" "$linked"
	fi
fi

exec "$@"
