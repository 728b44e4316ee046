# While sites are closed nobody has to wait for this.
beside "$version" frontend
! quiet || exit 0
await_health "$version"
route to "$number"
