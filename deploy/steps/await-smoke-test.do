# Who releases says every few seconds that the test still runs. One that lost its
# connection has five minutes to get it back.
touch heard
until [ -e passed ]; do
	[ $(($(date +%s) - $(stat -c %Y heard))) -lt 360 ] || fail "nothing has been heard of the smoke test for six minutes: who released is gone"
	sleep 0.2
done
cp passed/release.json "$dir/releases/$version/release.json.part"
mv "$dir/releases/$version/release.json.part" "$dir/releases/$version/release.json"
