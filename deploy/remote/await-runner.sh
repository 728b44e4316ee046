# Waits until a runner, process $3, has written into the journal of the run in
# the folder $1, which had $2 lines, or has ended: before that, the run's state
# is that of its last runner.
until [ "$(wc -l <"$1/journal")" -gt "$2" ] || ! kill -0 "$3" 2>/dev/null; do sleep 0.05; done
