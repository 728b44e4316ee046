[ ! -e fresh ] || exit 0
migration_needed || exit 0
dump_sites "$active" "$backup" ""
