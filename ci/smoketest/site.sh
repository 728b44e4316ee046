# A site, from nothing to a migration, as the image's own user.
set -o pipefail
export PATH="$IMAGE_PATH"
# Of a long output only an end arrives with an error: what a site prints while it is made
# goes to one stream, so the check is named on both.
mark() {
	set -- "smoke-test: $1 $(date +%s.%N)"
	echo "$1"
	echo "$1" >&2
}

mark "starts as uid 1000"
if [ "$(id -u):$(id -g)" != 1000:1000 ]; then
	echo "runs as $(id)"
	exit 1
fi

printf '{"db_host": "db", "db_port": 3306, "redis_cache": "redis://redis-cache:6379", "redis_queue": "redis://redis-queue:6379", "redis_socketio": "redis://redis-queue:6379", "socketio_port": 9000, "webserver_port": 8000, "workers": {"smoke-test": {"timeout": 300}}}' >sites/common_site_config.json

mark "every app imports"
# From where bench runs it, and as it does without a site: Frappe's log is at ../logs,
# also for what is logged while an app is imported, and hooks.py may read frappe.conf.
# Frappe 14 wants to know the address of its cache for that.
(cd sites && ../env/bin/python -c '
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import frappe
frappe.init("")
for name in sys.argv[1:]:
    importlib.import_module(name + ".hooks")
' $APPS)

mark "every asset of the manifests exists"
env/bin/python -c '
import json, os, sys
count, missing = 0, []
for name in ("assets.json", "assets-rtl.json"):
    with open("sites/assets/" + name) as file:
        for key, path in json.load(file).items():
            count += 1
            if not os.path.isfile("sites" + path):
                missing.append(key + " " + path)
if missing or not count:
    sys.exit("of %d assets are missing: %s" % (count, ", ".join(missing)))
'

mark "database and Redis answer"
for at in db:3306 redis-cache:6379 redis-queue:6379; do
	wait-for-it --quiet --timeout=120 "$at"
done

# They take a while to start, and want nothing of the site before they are asked.
export GUNICORN_WORKERS=1 BACKEND=127.0.0.1:8000 SOCKETIO=127.0.0.1:9000 FRAPPE_SITE_NAME_HEADER="$SITE"
start.sh >/tmp/backend.log 2>&1 &
node apps/frappe/socketio.js >/tmp/websocket.log 2>&1 &
nginx-entrypoint.sh >/tmp/frontend.log 2>&1 &

# It takes as long to start, but wants a site. Its queue is its own, so that it does no
# job that a migration puts into another while that runs.
work() { bench worker --queue smoke-test >/tmp/worker.log 2>&1 & }

if [ -d /kept ]; then
	mark "the site of an earlier image migrates"
	cp -r /kept/site "sites/$SITE"
	work
	(cd sites && ../env/bin/python -m frappe.utils.bench_helper frappe --site "$SITE" migrate)
else
	mark "a site is made, with every app installed"
	arguments=
	for app in $INSTALL; do arguments="$arguments --install-app $app"; done
	# How to say that the site's user comes from anywhere depends on the version.
	help=$(bench new-site --help)
	case $help in
	*--mariadb-user-host-login-scope*) arguments="$arguments --mariadb-user-host-login-scope=%" ;;
	*--no-mariadb-socket*) arguments="$arguments --no-mariadb-socket" ;;
	esac
	# Frappe asks GitHub whose app it is that another one requires without its owner,
	# which is refused where too many ask from one address. It does not where a file
	# has the name.
	named=
	for app in $APPS; do
		[ -e "sites/$app" ] || named="$named sites/$app"
	done
	[ -z "$named" ] || touch $named
	bench new-site "$SITE" --db-root-password "$DB_ROOT_PASSWORD" --admin-password smoke-test $arguments
	rm -f $named
	work
fi

# Beside the pages that are asked for next.
cat >/tmp/job.py <<'PYTHON'
import os, sys, time
os.chdir("sites")
import frappe
from rq.job import Job
from frappe.utils.background_jobs import enqueue, get_redis_conn
frappe.init(site=os.environ["SITE"])
frappe.connect()
job = enqueue("frappe.ping", queue="smoke-test")
give_up = time.monotonic() + 120
while True:
    status = Job.fetch(getattr(job, "id", job), connection=get_redis_conn()).get_status()
    status = getattr(status, "value", status)
    if status == "finished":
        break
    if status not in ("queued", "started") or time.monotonic() > give_up:
        sys.exit("the job is " + str(status))
    time.sleep(0.05)
PYTHON
env/bin/python /tmp/job.py >/tmp/job.log 2>&1 &
job=$!

mark "the site answers"
for _ in $(seq 300); do
	if answer=$(curl --silent --fail --max-time 30 http://127.0.0.1:8080/api/method/ping); then break; fi
	sleep 0.1
done
case ${answer:-} in
*pong*) ;;
*)
	echo "ping answers: ${answer:-nothing}"
	tail -n 20 /tmp/backend.log /tmp/frontend.log
	exit 1
	;;
esac

mark "the login page and what it loads"
curl --silent --show-error --fail http://127.0.0.1:8080/login >/tmp/login.html
assets=$(grep -oE '/assets/[^"'"'"' )?]+\.(js|css)' /tmp/login.html | sort -u || true)
if [ -z "$assets" ]; then
	echo "the login page names no assets"
	exit 1
fi
for path in $assets; do
	curl --silent --show-error --fail --output /dev/null "http://127.0.0.1:8080$path" || { echo "the login page loads $path"; exit 1; }
done
curl --silent --show-error --fail --output /dev/null "http://127.0.0.1:8080/socket.io/?EIO=4&transport=polling" || { tail -n 20 /tmp/websocket.log; exit 1; }

mark "a job goes through the worker"
wait "$job" || { tail -n 20 /tmp/worker.log /tmp/job.log; exit 1; }

if [ ! -d /kept ]; then
	mark "the site migrates"
	bench --site "$SITE" migrate

	# For the next test to begin with: what was made of it, and by which image. That it
	# can't be kept is no fault of the image.
	mark "the site is kept"
	value() { env/bin/python -c 'import json, sys; values = json.load(open(sys.argv[1])); print(values.get(sys.argv[2]) or values["db_name"])' "sites/$SITE/site_config.json" "$1"; }
	keep() {
		mkdir -p /tmp/keep
		name=$(value db_name)
		user=$(value db_user)
		export MYSQL_PWD=$DB_ROOT_PASSWORD
		# With the password, as its digest.
		mariadb --host=db --user=root --skip-column-names --raw --batch --execute "show grants for '$user'@'%'" | sed 's/$/;/' >/tmp/grants.sql
		mariadb-dump --host=db --user=root --single-transaction --databases "$name" | cat /tmp/grants.sql - | gzip -1 >/tmp/keep/database.sql.gz
		cp -r "sites/$SITE" /tmp/keep/site
		printf '%s\n' "$MADE_BY" >/tmp/keep/made-by
	}
	# Where a condition has it, a function goes on after what fails in it.
	keep &
	wait $! || rm -rf /tmp/keep
fi

mark end
