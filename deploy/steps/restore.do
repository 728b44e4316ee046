touch migrating
sync
restore "$restore_from"
