bring_up "$version" --remove-orphans $(services "$version" data once web)
[ -e fresh ] || exit 0
find_sites
[ -n "$sites" ] || fail "no site was made"
