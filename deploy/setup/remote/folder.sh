# Makes the folder $2 and gives it to the user $1. One with something in it is left as it
# is.
set -eu
group=$(id -gn "$1")
# In its home the user itself makes what is above it.
runuser -u "$1" -- mkdir -p "$2" 2>/dev/null || mkdir -p "$2"
[ -z "$(ls -A "$2")" ] || exit 0
chown "$1:$group" "$2"
chmod 755 "$2"
