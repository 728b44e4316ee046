# Ends the run $2 and removes its lock in the folder $1: its runner first, which
# would undo what it did, then the step under way, and nothing else. Nothing is
# to wake it again. The functions of recorded.sh, processes.sh and wake.sh stand
# before it. Exit code 44 means that the run does not have the lock, 45 that a
# process of it can't be ended.
dir=$1 id=$2
run=$dir/runs/$id
[ -e "$dir/lock" ] && [ "$(lock_holder)" = "$id" ] || exit 44

# gone NAME <FAMILY: waits ten seconds until none of these processes is there.
gone() {
	while read -r pid tick; do
		looks=0
		while [ -n "$pid" ] && [ "$(started "$pid")" = "$tick" ]; do
			looks=$((looks + 1))
			[ "$looks" -le 100 ] || return 1
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
	if named "$dir/lock"; then
		pid=$(field pid "$dir/lock")
		end KILL "$pid $(field tick "$dir/lock")" || {
			echo "$pid"
			exit 45
		}
	fi
	if [ -f child ] && named child; then
		pid=$(field pid child)
		all=$(family "$pid")
		end TERM "$all" || end KILL "$all" || {
			echo "$pid"
			exit 45
		}
	fi
fi
[ "$(lock_holder)" = "$id" ] || exit 44
rm -f -- "$dir/lock"
