# Waits until a runner, process $3, has written into the journal of the run in
# the folder $1, which had $2 lines, or has ended: before that, the run's state
# is that of its last runner. Prints the exit code of one that has ended, from
# its mark beside the log $4.
pid=$3
# The answer to its start did not come: its number is in the mark of that.
if [ "$pid" = 0 ]; then read -r pid _ <"$4.pid" || exit 0; fi
until [ "$(wc -l <"$1/journal")" -gt "$2" ] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
if ! kill -0 "$pid" 2>/dev/null; then
	looks=0
	until [ -e "$4.exit" ] || [ "$looks" -ge 20 ]; do
		looks=$((looks + 1))
		sleep 0.05
	done
	cat "$4.exit" 2>/dev/null
fi
exit 0
