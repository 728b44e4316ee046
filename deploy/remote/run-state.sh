# Prints a line each with the length of the log of the run in the folder $1, its
# first critical and its first settled step, and the version that was live before
# it, and then its journal. What is not there is an empty line.
first() { head -n 1 "$1" 2>/dev/null | tr -d '\n'; echo; }
if [ -f "$1/log" ]; then wc -c <"$1/log"; else echo 0; fi
first "$1/critical"
first "$1/settled"
# shellcheck source=/dev/null
before=$(previous='' && . "$1/settings" 2>/dev/null && printf '%s' "$previous")
echo "$before"
cat "$1/journal"
