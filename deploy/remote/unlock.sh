# Removes the lock in the folder $1, if it is that of the run $2 and no runner
# works on it. Exit code 44 means that the run does not have it, 45 that it is
# under way.
dir=$1 run=$2
[ "$(lock_holder)" = "$run" ] || exit 44
if [ -f "$dir/runs/$run/runner" ] && [ "$(sh "$dir/runs/$run/runner" status)" = running ]; then exit 45; fi
rm -f -- "$dir/lock"
