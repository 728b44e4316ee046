# A link is replaced in one step by a rename, and by nothing else.
ln -sfn "releases/$version" "$dir/.current-$id"
mv -fT "$dir/.current-$id" "$dir/current"
