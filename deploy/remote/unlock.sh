# Ends the run $2 and removes its lock in the folder $1: its runner first, which
# would undo what it did, then the step under way, and nothing else. Nothing is
# to wake it again. The functions of recorded.sh, processes.sh and wake.sh stand
# before it. Exit code 44 means that the run does not have the lock, 45 that a
# process of it can't be ended.
dir=$1 id=$2
run=$dir/runs/$id
[ -e "$dir/lock" ] && [ "$(lock_holder)" = "$id" ] || exit 44

# gone <FAMILY: waits ten seconds until none of these processes is there; else it
# prints one that is.
gone() {
	while read -r pid tick; do
		looks=0
		while [ -n "$pid" ] && [ "$(started "$pid")" = "$tick" ]; do
			looks=$((looks + 1))
			[ "$looks" -le 100 ] || {
				echo "$pid"
				return 1
			}
			sleep 0.1
		done
	done
}
# end SIGNAL FAMILY: whether they are gone after a signal.
end() {
	printf '%s\n' "$2" | signal "$1"
	printf '%s\n' "$2" | gone
}

if [ -n "$id" ] && [ -d "$run" ]; then
	cd "$run" || exit
	disarm
	all=
	if named "$dir/lock"; then
		# Those below it are not found any more when it is gone.
		all=$(family "$(field pid "$dir/lock")")
		end KILL "$(printf '%s\n' "$all" | head -n 1)" || exit 45
	fi
	# An earlier runner may have left its step.
	if [ -f child ] && named child; then
		all="$all
$(family "$(field pid child)")"
	fi
	end TERM "$all" >/dev/null || end KILL "$all" || exit 45
fi
[ "$(lock_holder)" = "$id" ] || exit 44
rm -f -- "$dir/lock"
