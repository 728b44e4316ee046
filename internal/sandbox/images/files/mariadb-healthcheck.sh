#!/bin/sh
# Succeeds when every check asked for does:
#   --connect             the server answers over TCP
#   --innodb_initialized  its storage engine InnoDB is up
set -u

client() {
	# Debian's client reads the extra file for its user only.
	mariadb --defaults-extra-file=/var/lib/mysql/.my-healthcheck.cnf \
		--protocol tcp --host localhost --skip-column-names --batch --execute "$1"
}

[ $# -gt 0 ] || { echo "healthcheck: no check given" >&2; exit 1; }
for check; do
	case "$check" in
	--connect)
		out=$(client 'SELECT 1' 2>&1) || case "$out" in
		*"Access denied"*) ;; # whoever denies access, answers
		*) echo "healthcheck: $out" >&2; exit 1 ;;
		esac
		;;
	--innodb_initialized)
		[ "$(client "SELECT 1 FROM information_schema.ENGINES WHERE engine='innodb' AND support IN ('YES','DEFAULT','ENABLED')")" = 1 ] || exit 1
		;;
	*)
		echo "healthcheck: unknown check $check" >&2
		exit 1
		;;
	esac
done
