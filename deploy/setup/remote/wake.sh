# Has something wake the runs of the user $1 after a restart of the host: systemd, whose
# units of the user run without a login then, or cron, where $2 says so. $3… are
# packages for it. The functions of packages.sh stand before it.
set -eu
user=$1 way=$2
shift 2
[ $# = 0 ] || packages "$@"
case $way in
linger)
	# Packages that come after the start of the host may not be started.
	[ $# = 0 ] || systemctl start dbus.socket systemd-logind.service </dev/null
	loginctl enable-linger "$user" </dev/null
	;;
cron) start cron ;;
esac
