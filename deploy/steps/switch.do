# In closed sites no visitor has to be led there yet.
start_beside frontend
! closes_sites || exit 0
await_health "$version"
await_route to "$number"
