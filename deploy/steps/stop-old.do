# Without a migration visitors are with it still.
closes_sites || exit 0
await_health "$version"
await_route to "$number"
touch old-stopped
containers_of "$previous" web | with_ids docker stop >/dev/null
