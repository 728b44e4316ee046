# Visitors are led there as soon as the frontend is well, and get a page at once.
if ! closes_sites; then
	for one in $(running_servers "$version"); do
		site_in "$one" warm "$first_site" &
	done
	wait
fi
# In closed sites no visitor has to be led there yet.
start_beside frontend
! closes_sites || exit 0
await_health "$version"
await_route to "$number"
