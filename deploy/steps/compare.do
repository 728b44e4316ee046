# What a migration reads, in the image of this release and of the one before.
read_by_migrate() { docker run --rm --network none --pull never --entrypoint sh "$1" -euc "$(cat inputs.sh)"; }
running=$(containers "$previous" label=com.docker.compose.service=backend | head -n 1)
if [ -n "$restore_from" ]; then
	printf '%s\n' needed "the databases" >migration.part
elif [ -z "$running" ]; then
	printf '%s\n' needed "everything: the release before does not run, and may have" >migration.part
else
	read_by_migrate "$(docker inspect --format '{{.Image}}' "$running")" >inputs-before
	read_by_migrate "$image" >inputs
	if cmp -s inputs-before inputs && [ ! -s databases ]; then
		{
			echo none
			echo "no app changed its patches, hooks, fixtures or document types"
		} >migration.part
	else
		{
			echo needed
			[ ! -s databases ] || sed 's/^/the database service /' databases
			diff inputs-before inputs | sed -n 's/^[<>] [0-9a-f]*  *//p' | sort -u
		} >migration.part
	fi
	rm -f inputs-before inputs
fi
mv migration.part migration
if [ -n "$restore_from" ]; then
	echo "the databases are put back, so they are saved first"
elif migration_needed; then
	echo "a migration is needed: $(sed -n 2,4p migration | paste -sd ' ' -)$([ "$(wc -l <migration)" -lt 5 ] || echo " and others") changed"
else
	echo "no migration is needed: $(sed -n 2p migration)"
fi
