# Prints what became of the start of the run in the folder $1 with the log $2:
# not-started, or started. A runner that has just been started has written
# nothing yet: then it is waited for.
looks=0
while :; do
	if [ -e "$1/journal" ] || [ "$(sh "$1/runner" status 2>/dev/null)" = running ]; then
		echo started
		exit 0
	fi
	# The mark of a process that has not ended.
	if [ ! -e "$2.pid" ] || [ -e "$2.exit" ] || [ "$looks" -ge 50 ]; then break; fi
	looks=$((looks + 1))
	sleep 0.2
done
# One that was refused says why in its log.
if [ -e "$2.exit" ]; then echo started; else echo not-started; fi
