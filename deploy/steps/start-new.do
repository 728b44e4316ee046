run_once "$version"
start_beside "$version" $(services "$version" web | grep -vx frontend)
await_health "$version"
