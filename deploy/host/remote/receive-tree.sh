# Unpacks the archive on standard input to the new folder $1 and renames that to
# $2, which must not be there: exit code 45. mv -T is a rename(2): it refuses a
# folder with something in it. Exit code 46 means that only a part arrived.
umask 077
[ ! -e "$2" ] || exit 45
trap 'rm -rf -- "$1"' EXIT
# Some shells go without that when a signal ends them.
trap 'exit 143' TERM HUP INT
mkdir -p -- "$1" && tar -C "$1" -xpof - || exit
[ -f "$1/.upload-complete" ] || exit 46
rm -- "$1/.upload-complete" && { find "$1" -exec sync -- {} + 2>/dev/null || sync; }
mv -T -- "$1" "$2" || { [ ! -e "$2" ] || exit 45; exit 1; }
sync -- "$(dirname -- "$2")" || :
