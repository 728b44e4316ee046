# A set in full may have secrets in it: it goes into no file.
new=$(compose "$version" config)
# section NAME <SET: one of its top-level sections.
section() { awk -v name="$1:" '/^[^ ]/ { on = $1 == name } on'; }
all_there() {
	missing=$(missing_images "$1")
	for one in $missing; do fail "image $one is not on this host"; done
}
all_there "$version"
[ -n "$previous" ] || exit 0
# What can't come up again must not be taken down.
old=$(compose "$previous" config)
all_there "$previous"

check_data

# Services that hold data, and the proxy, stay as they are where this release has
# them the same: networks, configuration and image.
# checksums VERSION SET: a line with name and checksum of each, and of the networks.
checksums() {
	for service in $(services "$1" data); do
		echo "$service $(printf '%s\n' "$2" | section services | awk -v name="  $service:" '/^  [^ ]/ { on = $0 == name } on' | sha256sum)"
	done
	echo "networks: $(printf '%s\n' "$2" | section networks | sha256sum)"
}
# up_to_date CONTAINER: whether it runs, with the image that its name stands for
# now.
up_to_date() {
	set -- $(docker inspect --format '{{.State.Running}} {{.Image}} {{.Config.Image}}' "$1")
	[ "$1" = true ] && [ "$2" = "$(docker image inspect --format '{{.Id}}' "$3")" ]
}
checksums "$previous" "$old" | sort >checksums.before
checksums "$version" "$new" | sort >checksums.now
comm -12 checksums.before checksums.now | cut -d ' ' -f 1 >same
: >kept.part
if grep -qx networks: same; then
	grep -vx networks: same | while read -r service; do
		ids=$(of_service "$service")
		[ -n "$ids" ] || continue
		for one in $ids; do up_to_date "$one" || continue 2; done
		echo "$service"
	done >kept.part
fi
mv kept.part kept
[ ! -s kept ] || echo "these stay as they are: $(paste -sd ' ' kept)"

[ -n "$swap" ] || exit 0
# Two releases are told apart by their numbers.
grep -q '^RELEASE=' "$dir/releases/$previous/.env" ||
	fail "the compose set of $previous does not use \${RELEASE}, so another release can't come up beside it: use the strategy cycle"
# A swap leaves all of them as they are.
changed=$(comm -3 checksums.before checksums.now | tr -d '\t:' | cut -d ' ' -f 1 | sort -u | paste -sd ' ')
[ -z "$changed" ] || fail "services that hold data, the proxy, or networks change with this release ($changed): use the strategy cycle"
