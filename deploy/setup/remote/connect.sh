# Prints who this login is and how it came in, as lines "NAME VALUE": the number of
# the user, the port of the SSH server, and where it is not root why sudo does not
# make it root.
echo "uid $(id -u)"
# shellcheck disable=SC2086 # four words
set -- ${SSH_CONNECTION:-}
echo "ssh-port ${4:-}"
[ "$(id -u)" != 0 ] || exit 0
if ! command -v sudo >/dev/null; then
	echo "sudo there is no sudo"
elif ! said=$(sudo -n true </dev/null 2>&1); then
	echo "sudo $(printf '%s\n' "$said" | tail -n 1)"
fi
