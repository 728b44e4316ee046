# Waits until a runner, process $3, has written into the journal of the run in
# the folder $1, which had $2 lines, or has ended: before that, the run's state
# is that of its last runner. Prints the exit code of one that has ended, from
# its mark beside the log $4.
until [ "$(wc -l <"$1/journal")" -gt "$2" ] || ! kill -0 "$3" 2>/dev/null; do sleep 0.05; done
if ! kill -0 "$3" 2>/dev/null; then
	looks=0
	until [ -e "$4.exit" ] || [ "$looks" -ge 20 ]; do
		looks=$((looks + 1))
		sleep 0.05
	done
	cat "$4.exit" 2>/dev/null
fi
exit 0
