# One image may have been released under several versions: what a release that
# stays runs on, stays.
kept=$image
for at in "$dir"/releases/*/; do
	one=$(basename "$at")
	case " $unneeded_versions " in
	*" $one "*) ;;
	*) kept="$kept $(image_of "$one")" ;;
	esac
done
for one in $unneeded_versions; do
	used=$(image_of "$one")
	docker image rm "${tagged%:*}:$one" >/dev/null 2>&1 || true
	case " $kept " in
	*" $used "*) continue ;;
	esac
	# One that a container uses stays as well.
	if docker image rm "$used" >/dev/null 2>&1; then echo "$one: image removed"; fi
done
for one in $unneeded_backups; do
	rm -rf -- "${dir:?}/backups/$one"
	echo "backup of run $one removed"
done
