all_there() {
	compose "$1" config --quiet
	# Images are listed first: in a pipe their failure would go unnoticed.
	images=$(compose "$1" config --images)
	for one in $images; do
		docker image inspect "$one" >/dev/null || fail "image $one is not on this host"
	done
}
all_there "$version"
[ -n "$previous" ] || exit 0
# What can't come up again must not be taken down.
all_there "$previous"

# Dumps shrink to a fraction when they are compressed; half is more than that.
bytes=$(site "$previous" size "$backup_files" $sites)
need=$((bytes / 2048))
free=$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')
[ "$need" -lt "$free" ] || fail "a backup may need $need KiB in $dir, and $free KiB are free: make room, or run pipeline prune"

[ "$strategy" = swap ] || exit 0
# Two releases are told apart by their numbers.
grep -q '^RELEASE=' "$dir/releases/$previous/.env" ||
	fail "the compose set of $previous does not use \${RELEASE}, so another release can't come up beside it: use the strategy cycle"
# A swap leaves data services and proxy as they are, so they have to be the same.
data() { compose "$1" config --hash "$(services "$1" data | paste -sd , -)" | sort; }
[ "$(data "$version")" = "$(data "$previous")" ] || {
	data "$previous" >data-before
	data "$version" | diff data-before - || true
	fail "services that hold data, or the proxy, change with this release: use the strategy cycle"
}
