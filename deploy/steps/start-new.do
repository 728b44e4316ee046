run_once "$version"
start_beside $(services "$version" web | grep -vx frontend)
[ "$kind" != rollback ] || hint=", perhaps because they can't read what a newer Frappe has left in the cache; the strategy cycle empties it before they start"
await_health "$version"
