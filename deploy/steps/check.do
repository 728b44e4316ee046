. ./data.sh
# A set in full may have secrets in it: it goes into no file.
new=$(compose "$version" config)
# port_of VERSION: where its proxy is published.
port_of() {
	found=$(sed -n "s/^HTTP_PORT='\(.*\)'$/\1/p" "$dir/releases/$1/.env")
	echo "${found:-$port}"
}
# note_address VERSION SET: where its proxy is reached from here.
note_address() { echo "$(printf '%s\n' "$2" | published "$(port_of "$1")") $(port_of "$1")" >"address-$1"; }
note_address "$version" "$new"
printf '%s\n' "$new" | wanted_replicas >replicas
all_there() {
	missing=$(missing_images "$1")
	for one in $missing; do fail "image $one is not on this host"; done
}
all_there "$version"
[ -n "$previous" ] || exit 0
# What can't come up again must not be taken down.
old=$(compose "$previous" config)
all_there "$previous"
note_address "$previous" "$old"

# The bench is asked while the sets are compared, which takes as long. The step does not
# end before both have.
(
	check_data
	find_mute
) >told 2>&1 &
asking=$!
trap 'wait "$asking" || true; cat told' EXIT

# Services that hold data, and the proxy, stay as they are where this release has
# them the same: networks, configuration and image.
# up_to_date CONTAINER: whether it runs, with the image that its name stands for
# now.
up_to_date() {
	set -- $(docker inspect --format '{{.State.Running}} {{.Image}} {{.Config.Image}}' "$1")
	[ "$1" = true ] && [ "$2" = "$(docker image inspect --format '{{.Id}}' "$3")" ]
}
checksums "$previous" "$old" | sort >checksums.before
checksums "$version" "$new" | sort >checksums.now
comm -12 checksums.before checksums.now | cut -d ' ' -f 1 >same
: >databases.part
for service in $(services "$previous" data); do compare_server "$service" "$old" "$new"; done
mv databases.part databases
[ ! -s databases ] || echo "the database changes ($(paste -sd ' ' databases)), so it is dumped before"
: >kept.part
if grep -qx networks: same; then
	grep -vx networks: same | while read -r service; do
		ids=$(of_service "$service")
		[ -n "$ids" ] || continue
		for one in $ids; do up_to_date "$one" || continue 2; done
		echo "$service"
	done >kept.part
	# What lives in the network of one that is replaced is replaced with it.
	while
		stay=$(cat kept.part)
		gone=$(for service in $stay; do
			! printf '%s\n' "$new" | shares "$service" | grep -qvxFf kept.part || echo "$service"
		done)
		[ -n "$gone" ]
	do
		grep -vxF "$gone" kept.part >kept.left || true
		mv kept.left kept.part
	done
fi
mv kept.part kept
[ ! -s kept ] || echo "these stay as they are: $(paste -sd ' ' kept)"

trap - EXIT
code=0
wait "$asking" || code=$?
cat told
rm told
[ "$code" = 0 ] || exit "$code"
sites=$(cat sites)
open_sites=$([ -z "$sites" ] || sed -n 2p surveyed)

# What is asked at the end of the run is asked once now, while that can still be
# put right. Where the site is not well, this release may be what mends it.
if [ -n "$(containers "$previous" label=com.docker.compose.service=frontend health=healthy)" ]; then
	asked=$previous
	case " $open_sites " in *" $first_site "*) as_visitor look.sh "$first_site" ;; esac >looked
	asked=
	while read -r one code at; do
		case $code in
		200) ;;
		5* | page) echo "warning: $one answers with $code before this release" ;;
		000) fail "nothing answers at $at, where $one is to be seen: the proxy of the compose set has to publish that on this host" ;;
		3*) fail "$one leads from one address to the next, at last to $at: it has to answer http or https on this host" ;;
		*) fail "$one answers with $code at $at, where a release has to see it answer with 200: let this host ask for /api/method/ping" ;;
		esac
	done <looked
fi

[ -n "$swap" ] || exit 0
# Two releases are told apart by their numbers.
for one in "$previous" "$version"; do
	grep -q '^RELEASE=' "$dir/releases/$one/.env" ||
		fail "the compose set of $one does not use \${RELEASE}, so another release can't come up beside it: use the strategy cycle"
done
# A swap leaves all of them as they are.
changed=$(comm -3 checksums.before checksums.now | tr -d '\t:' | cut -d ' ' -f 1 | sort -u | paste -sd ' ')
[ -z "$changed" ] || fail "services that hold data, the proxy, or networks change with this release ($changed): use the strategy cycle"
