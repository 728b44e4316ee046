for one in $sites; do changing "$one"; done
restore "$restore_from" $sites
