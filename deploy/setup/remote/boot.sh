# Has systemd start the units $1… with the host.
set -eu
systemctl enable "$@" </dev/null
