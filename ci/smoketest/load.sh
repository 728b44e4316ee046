# Loads the site that was kept into the database server of this container, whose
# command are the arguments, and leaves that as it is after a clean end.
set -o pipefail
export MYSQL_PWD=$MARIADB_ROOT_PASSWORD
docker-entrypoint.sh "$@" >/tmp/server.log 2>&1 &
server=$!
trap 'tail -n 20 /tmp/server.log' ERR
# While it is set up, a server of its own answers at the socket alone.
until mariadb --protocol=tcp --host=127.0.0.1 --user=root --execute='select 1' >/dev/null 2>&1; do
	kill -0 "$server"
	sleep 0.1
done
gzip -dc /kept/database.sql.gz | mariadb --protocol=tcp --host=127.0.0.1 --user=root
mariadb --protocol=tcp --host=127.0.0.1 --user=root --execute=shutdown
wait "$server"
