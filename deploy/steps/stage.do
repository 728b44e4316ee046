# A run that was interrupted here has moved it already.
if [ -e release ]; then
	[ ! -e "$dir/releases/$version" ] || fail "version $version is on the host already"
	mkdir -p "$dir/releases" "$dir/backups"
	mv release "$dir/releases/$version"
fi
