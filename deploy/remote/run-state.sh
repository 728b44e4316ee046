# Prints the length of the log of the run in the folder $1, its first critical
# step and its journal.
wc -c <"$1/log" && cat "$1/critical" "$1/journal"
