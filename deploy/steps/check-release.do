[ -d "$dir/releases/$version" ] || fail "release $version is not on the host any more"
# The newest number is the one that visitors get, and this set is to be that.
sed "s/^RELEASE=.*/RELEASE='$number'/" "$dir/releases/$version/.env" >env.part
to_disk env.part
mv env.part "$dir/releases/$version/.env"
