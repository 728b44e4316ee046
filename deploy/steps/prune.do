# One image may have been released under several versions: what a release that
# stays runs on, stays. Nothing is written: the disk may be full, and this makes
# room.
recorded=$(images $(ls -1 "$dir/releases"))
kept="$image $(printf '%s\n' "$recorded" | while read -r one used; do
	case " $unneeded_versions " in
	*" $one "*) ;;
	*) echo "$used" ;;
	esac
done | paste -sd ' ' -)"
for one in $unneeded_versions; do
	used=$(printf '%s\n' "$recorded" | awk -v one="$one" '$1 == one { print $2 }')
	docker image rm "${tagged%:*}:$one" >/dev/null 2>&1 || true
	case " $kept " in
	*" $used "*) continue ;;
	esac
	# One that a container uses stays as well.
	if docker image rm "$used" >/dev/null 2>&1; then echo "$one: image removed"; fi
done
for one in $unneeded_backups; do
	# What was written since the plan was made counts as well.
	if [ "$only_copies" != yes ] && ls "$dir/backups/$one"/after-* >/dev/null 2>&1; then
		echo "backup of run $one stays: it holds what was written before a release was put back"
		continue
	fi
	rm -rf -- "${dir:?}/backups/$one"
	echo "backup of run $one removed"
done
