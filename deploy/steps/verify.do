# .git is not in the image: its manifest knows what belongs there. Frappe takes a
# moment to say, so it is asked beside the rest.
within "$version" backend bash -euo pipefail -c "$(cat versions.sh)" >versions.said 2>&1 &
versions=$!
await_health "$version"
[ -z "$swap" ] || await_route to "$number"
# Asked for by a visitor, a missing one could still come from the release before.
within "$version" frontend bash -euo pipefail -c "$(cat assets.sh)"
# Closed sites say so, and serve their assets all the same. Some answer who only
# reads.
if [ -e maintenance-before ]; then
	readers=$(site "$version" readers $sites)
	closed=$(printf '%s\n' $sites | grep -vxF -e "$(printf '%s\n' $readers)" || true)
	[ -z "$readers" ] || ask 200 assets $readers
	[ -z "$closed" ] || ask 503 assets $closed
else
	ask 200 assets $sites
fi
wait "$versions" || {
	cat versions.said
	exit 1
}
