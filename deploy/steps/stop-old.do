# Without a migration visitors are with it still.
closes_sites || exit 0
await_health "$version"
await_route to "$number"
touch old-stopped
ids=$(containers_of "$previous" web)
[ -z "$ids" ] || docker stop $ids >/dev/null
[ "$kind" != rollback ] || empty_cache "$version"
