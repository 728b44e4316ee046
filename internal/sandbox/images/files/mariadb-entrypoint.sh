#!/bin/sh
# Runs MariaDB as the user mysql, and makes the data folder first if it is
# empty: root with the password given may then connect from anywhere.
#
# MARIADB_ROOT_PASSWORD or MARIADB_ROOT_PASSWORD_FILE is needed for that once.
set -eu
umask 027

# Options alone mean the server.
case "${1-}" in
-*) set -- mariadbd "$@" ;;
esac
case "$1" in
mariadbd | mysqld) ;;
*) exec "$@" ;;
esac
case " $* " in
*" --version "* | *" --help "*) exec "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
	install -d -o mysql -g mysql /var/lib/mysql /run/mysqld
	find /var/lib/mysql \! -user mysql -exec chown mysql:mysql '{}' +
	exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
fi

data=/var/lib/mysql
# An initialisation that was cut off is begun again.
if [ -e $data/.initialising ]; then
	find $data -mindepth 1 -delete
fi

if [ ! -d $data/mysql ]; then
	password=${MARIADB_ROOT_PASSWORD-}
	if [ -n "${MARIADB_ROOT_PASSWORD_FILE-}" ]; then
		password=$(cat "$MARIADB_ROOT_PASSWORD_FILE")
	fi
	if [ -z "$password" ]; then
		echo >&2 "the data folder is empty: set MARIADB_ROOT_PASSWORD or MARIADB_ROOT_PASSWORD_FILE"
		exit 1
	fi
	touch $data/.initialising
	mariadb-install-db --datadir=$data --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >/dev/null

	# Inside single quotes of SQL.
	quoted=$(printf '%s' "$password" | sed "s/\\\\/\\\\\\\\/g; s/'/\\\\'/g")
	check=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
	printf '[mariadb-client]\nuser=healthcheck\npassword=%s\n' "$check" >$data/.my-healthcheck.cnf
	mariadbd --bootstrap --datadir=$data --log-warnings=0 <<-SQL
		DELETE FROM mysql.global_priv WHERE user IN ('root', '') AND host <> 'localhost';
		DELETE FROM mysql.proxies_priv WHERE host <> 'localhost';
		FLUSH PRIVILEGES;
		ALTER USER root@localhost IDENTIFIED BY '$quoted';
		CREATE USER root@'%' IDENTIFIED BY '$quoted';
		GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;
		CREATE USER healthcheck@localhost IDENTIFIED BY '$check';
		CREATE USER healthcheck@'127.0.0.1' IDENTIFIED BY '$check';
		CREATE USER healthcheck@'::1' IDENTIFIED BY '$check';
	SQL
	rm $data/.initialising
fi
unset MARIADB_ROOT_PASSWORD MARIADB_ROOT_PASSWORD_FILE password quoted check
exec "$@"
