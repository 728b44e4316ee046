# dumps.sh DIR RUN [backup]: the rows in the dumps of a run, and whether its log
# has their names.
set -eu
cd "$1/backups/$2" 2>/dev/null || exit 0
for dump in *-database.sql.gz; do
	case $dump in
	after-*) ;;
	*) [ "${3-}" = backup ] && [ -e "$dump" ] || continue ;;
	esac
	if grep -qF "$PWD/$dump" "$1/runs/$2/log"; then echo "named $PWD/$dump"; else echo "unnamed $PWD/$dump"; fi
	rows=$(gzip -dc "$dump" | grep -oE "'row [0-9]{6} of [^']*'" || true)
	[ -z "$rows" ] || printf '%s\n' "$rows" | sed 's/^/has /'
done
