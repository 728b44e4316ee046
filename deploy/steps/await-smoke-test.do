# Who releases says every few seconds that the test still runs.
touch heard
[ -e waits ] || uptime_seconds >waits
last=''
until [ -e passed ]; do
	said=$(stat -c %Y heard)
	[ "$said" = "$last" ] || last=$said since=$(uptime_seconds)
	[ $(($(uptime_seconds) - since)) -lt "$quiet_limit" ] || fail "nothing has been heard of the smoke test for $quiet_limit s: who released is gone, and nothing was changed"
	sleep 0.2
done
# What was found some time ago may be so no more: sites may have been made.
waited=$(($(uptime_seconds) - $(cat waits)))
if [ -n "$previous" ] && { [ "$waited" -lt 0 ] || [ "$waited" -ge 60 ]; }; then
	check_data
	find_mute
fi
# The record says now that the image was tested.
if [ -s passed/release.json ]; then
	cp passed/release.json "$dir/releases/$version/release.json.part"
	to_disk "$dir/releases/$version/release.json.part"
	mv "$dir/releases/$version/release.json.part" "$dir/releases/$version/release.json"
	to_disk "$dir/releases/$version"
fi
