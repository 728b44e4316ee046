# What a migration reads and runs, in the image of this release and of the one
# before, see inputs.py.
read_by_migrate() { docker run --rm --network none --pull never --entrypoint "$bench/env/bin/python" "$1" -c "$(cat inputs.py)"; }
# settle WORD TEXT…: what is found: none or needed, and a line for each reason.
settle() { printf '%s\n' "$@" >migration.part; }
# changes: what the two lists tell apart, by name, with why it counts.
changes() (
	found=$(tell_apart) || exit
	printf '%s\n' "$found" | sort
)
tell_apart() {
	awk -F '\t' '
		{ name = substr($1, 67); sum = substr($1, 1, 64) }
		NR == FNR { before[name] = sum; why[name] = $2; next }
		{ now[name] = sum; why[name] = $2 }
		END {
			for (name in why) if (before[name] != now[name])
				print name (why[name] == "" ? "" : ", " why[name] ",") " changed"
		}' inputs-before inputs
}
running=$(containers "$previous" label=com.docker.compose.service=backend | head -n 1)
if [ -n "$restore_from" ]; then
	settle needed "the databases are put back"
elif [ "$migrate" = yes ]; then
	settle needed "it was asked for"
elif [ -z "$running" ]; then
	settle needed "the release before does not run, so that anything may have changed"
elif [ -s databases ]; then
	settle needed "the database service $(paste -sd ' ' databases) changes"
elif ! read_by_migrate "$(docker inspect --format '{{.Image}}' "$running")" >inputs-before ||
	! read_by_migrate "$image" >inputs; then
	settle needed "it can't be told what changed"
elif ! changed=$(changes); then
	settle needed "it can't be told what changed"
elif [ -n "$changed" ]; then
	settle needed "$changed"
else
	settle none "no app changed what a migration reads or runs"
fi
rm -f inputs-before inputs
mv migration.part migration
if [ -n "$restore_from" ]; then
	echo "the databases are put back, so they are saved first"
elif migration_needed; then
	echo "a migration is needed: $(sed -n 2,4p migration | paste -sd ';' - | sed 's/;/; /g')$([ "$(wc -l <migration)" -lt 5 ] || echo "; and more")"
	[ -z "$migrates_down" ] || [ "$kind" != release ] || fail "Frappe does not migrate down: $migrates_down"
else
	echo "no migration is needed: $(sed -n 2p migration)"
fi
