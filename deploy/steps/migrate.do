if ! migration_needed; then
	sed -n 2p migration
	exit 0
fi
as_administrator
if [ -e migrating ] && [ ! -e fresh ]; then
	echo "an attempt to migrate was cut off"
	undo_changes
fi
# The database answers, or is waited for.
for one in $sites; do site "$version" tables "$one" >/dev/null; done
# migrate_site SITE: a migrate that was started by other means is waited for; what
# it did, this one finds done.
migrate_site() {
	attempt=1
	until frappe "$version" --site "$1" migrate >migrate.part 2>&1; do
		cat migrate.part
		grep -q 'Failed to aquire lock: bench_migrate' migrate.part && [ "$attempt" -lt 60 ] || return 1
		echo "another migrate runs on $1: waiting for it"
		attempt=$((attempt + 1))
		sleep 2
	done
	cat migrate.part
}
# What the release before has left there, Frappe begins to migrate with.
site "$version" flush
for one in $sites; do
	changing "$one"
	guarded migrate_site "$one" || exit
done
rm -f migrate.part
# A database may leave it to the system when the last second is on the disk
# (innodb_flush_log_at_trx_commit).
sync
