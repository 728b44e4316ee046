# Lets the TCP ports $2… in, now and after a restart, with the firewall $1. None is
# enabled that is not, and no rule is taken away.
set -eu
firewall=$1
shift
for port; do
	case $firewall in
	ufw) ufw allow "$port/tcp" </dev/null ;;
	firewalld)
		# No reload: that would drop Docker's own rules.
		firewall-cmd --quiet --permanent --add-port="$port/tcp" </dev/null
		firewall-cmd --quiet --add-port="$port/tcp" </dev/null
		;;
	esac
done
