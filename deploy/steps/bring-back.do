[ -n "$restore_from" ] || exit 0
touch migrating
sync
restore "$restore_from"
