# .git is not in the image: its manifest knows what belongs there. Frappe takes a
# moment to say, so it is asked beside the rest.
within "$version" backend bash -euo pipefail -c "$(cat versions.sh)" >versions.said 2>&1 &
versions=$!
await_health "$version"
# Where the sites are closed, stop-old has seen to it.
[ -z "$swap" ] || closes_sites || await_route to "$number"
# Asked for by a visitor, a missing one could still come from the release before.
within "$version" frontend bash -euo pipefail -c "$(cat assets.sh)"
site "$version" answers $(sound "$version" $sites)
# A closed site says so, and serves its assets all the same. Some answer who only
# reads.
code=503
case " $(site "$version" serving $sites) $(site "$version" readers $sites) " in
*" $first_site "*) code=200 ;;
esac
ask "$code" assets "$first_site"
wait "$versions" || {
	cat versions.said
	exit 1
}
