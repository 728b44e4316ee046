# Appends the line on standard input to what lets the user $1 in. In its home only the
# user itself writes.
set -eu
home=$(getent passwd "$1" | cut -d : -f 6)
[ -d "$home" ] || install -d -m 700 -o "$1" -g "$(id -gn "$1")" "$home"
runuser -u "$1" -- sh -euc '
	umask 077
	mkdir -p "$1/.ssh"
	cd "$1/.ssh"
	[ ! -s authorized_keys ] || [ -z "$(tail -c 1 authorized_keys)" ] || echo >>authorized_keys
	cat >>authorized_keys
	chmod go-w . authorized_keys
' sh "$home"
