if ! migration_needed; then
	sed -n 2p migration
	exit 0
fi
if [ -e migrating ] && [ ! -e fresh ]; then
	echo "an attempt to migrate was cut off"
	restore "$backup"
fi
# The database answers, or is waited for.
for one in $sites; do site "$version" tables "$one" >/dev/null; done
touch migrating
sync
for one in $sites; do
	# A migrate that was started by other means is waited for; what it did, this
	# one finds done.
	attempt=1
	until frappe "$version" --site "$one" migrate >migrate.part 2>&1; do
		cat migrate.part
		grep -q 'Failed to aquire lock: bench_migrate' migrate.part && [ "$attempt" -lt 60 ] || exit 1
		echo "another migrate runs on $one: waiting for it"
		attempt=$((attempt + 1))
		sleep 2
	done
	cat migrate.part
done
rm -f migrate.part
