names=$(services "$version" worker scheduler)
# Without a name compose would bring everything up.
[ -z "$names" ] || bring_up "$version" --no-deps $names
