# Removes the run in the folder $1 if it was never started, or else what it had
# for releases/, which has secrets in it. One that was killed before it began may
# have left the lock, and what wakes it: that puts both away, and needs the folder.
[ "$(sh "$1/runner" status 2>/dev/null)" != running ] || exit 0
if [ -e "$1/journal" ] || grep -qx "run=${1##*/}" "$1/../../lock" 2>/dev/null; then
	rm -rf -- "$1/release"
else
	rm -rf -- "$1"
fi
