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

# Services that hold data, and the proxy, stay as they are where this release has
# them the same: networks, configuration and image.
networks_of() { compose "$1" config | awk '/^[^ ]/ { on = $1 == "networks:" } on'; }
# data_of VERSION: a line with name and hash of each such service.
data_of() {
	names=$(services "$1" data | paste -sd , -)
	[ -z "$names" ] || compose "$1" config --hash "$names" | sort
}
# newest CONTAINER: whether it runs, with the image that its name stands for now.
newest() {
	set -- $(docker inspect --format '{{.State.Running}} {{.Image}} {{.Config.Image}}' "$1")
	[ "$1" = true ] && [ "$2" = "$(docker image inspect --format '{{.Id}}' "$3")" ]
}
networks_of "$previous" >networks-before
networks_of "$version" >networks
data_of "$previous" >data-before
data_of "$version" >data
: >kept.part
if cmp -s networks-before networks; then
	comm -12 data-before data | while read -r service _; do
		ids=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
			--filter "label=com.docker.compose.service=$service" --filter label=com.docker.compose.oneoff=False)
		[ -n "$ids" ] || continue
		for one in $ids; do newest "$one" || continue 2; done
		echo "$service"
	done >kept.part
fi
mv kept.part kept
[ ! -s kept ] || echo "these stay as they are: $(paste -sd ' ' kept)"

[ "$strategy" = swap ] || exit 0
# Two releases are told apart by their numbers.
grep -q '^RELEASE=' "$dir/releases/$previous/.env" ||
	fail "the compose set of $previous does not use \${RELEASE}, so another release can't come up beside it: use the strategy cycle"
# A swap leaves all of them as they are.
cat networks-before data-before >set-before
cat networks data | diff set-before - ||
	fail "services that hold data, or the proxy, change with this release: use the strategy cycle"
