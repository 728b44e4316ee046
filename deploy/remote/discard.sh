# Removes the run in the folder $1 if it was never started, or else what it had
# for releases/, which has secrets in it.
[ "$(sh "$1/runner" status 2>/dev/null)" != running ] || exit 0
if [ -e "$1/journal" ]; then rm -rf -- "$1/release"; else rm -rf -- "$1"; fi
