[ ! -e fresh ] || exit 0
migrating || exit 0
save "$first" "$backup" ""
