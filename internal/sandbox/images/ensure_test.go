package images

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// TestEnsure makes all stand-ins and uses each the way its users do, by the
// public image's name.
func TestEnsure(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images")
	}
	client, mirror := enginetest.Session(t)
	log := enginetest.Log(t)
	set := append(All(), Newer()...)
	made, err := Ensure(t.Context(), client, mirror, set, log)
	if err != nil {
		t.Fatal(err)
	}
	for i, standIn := range made {
		t.Log(standIn)
		if standIn.Name != set[i] || standIn.Holds == "" {
			t.Errorf("stand-in %d is %+v, want it to be %s", i, standIn, set[i])
		}
	}

	t.Run("a second time", func(t *testing.T) {
		begun := time.Now()
		again, err := Ensure(t.Context(), client, mirror, set, log)
		if err != nil {
			t.Fatal(err)
		}
		for i, standIn := range again {
			if standIn.Built || standIn.Holds != made[i].Holds {
				t.Errorf("%+v, want it to be left alone and hold %s", standIn, made[i].Holds)
			}
		}
		t.Logf("took %v", time.Since(begun))
	})

	for _, use := range uses {
		t.Run(use.image, func(t *testing.T) {
			t.Parallel()
			out, err := client.Container().From(use.image).
				WithEnvVariable("NOW", rand.Text()). // really run it
				WithExec([]string{"bash", "-c", trust + use.script}).
				CombinedOutput(t.Context())
			if err != nil {
				t.Fatal(execError(err))
			}
			for _, want := range use.want {
				if !strings.Contains(out, want) {
					t.Errorf("it printed\n%swant it to contain %q", out, want)
				}
			}
			// Files are looked at from outside: in a running container
			// the engine lends the machine's CAs.
			certificates, err := client.Container().From(use.image).Rootfs().Glob(t.Context(), "etc/ssl/certs/*")
			if err != nil {
				t.Fatal(err)
			}
			own, err := os.ReadDir("/usr/local/share/ca-certificates")
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			for _, entry := range own {
				for _, certificate := range certificates {
					if strings.Contains(certificate, strings.TrimSuffix(entry.Name(), ".crt")) {
						t.Errorf("this machine's %s is in the image as %s", entry.Name(), certificate)
					}
				}
			}
		})
	}
}

// trust lets clients with certificates of their own through a proxy that
// inspects TLS, if there is one.
const trust = `set -euo pipefail
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then export PIP_CERT=/etc/ssl/certs/ca-certificates.crt; fi
`

// useMariaDB is what is tried with each of its generations, and what it prints.
const useMariaDB = `if healthcheck.sh --connect --innodb_initialized 2>/dev/null; then echo "healthy before it runs"; exit 1; fi
if docker-entrypoint.sh mariadbd; then echo "started without a password"; exit 1; fi
# An initialisation that was cut off.
mkdir /var/lib/mysql/mysql; touch /var/lib/mysql/.initialising
printf '%s' "it's \\ \"secret\"" >/run/password
boot() {
	docker-entrypoint.sh "$@" & server=$!
	begun=$(date +%s%N)
	until healthcheck.sh --connect --innodb_initialized 2>/dev/null; do sleep 0.1; kill -0 $server; done
	echo "healthy after $(( ($(date +%s%N) - begun) / 1000000 )) ms"
}
halt() {
	begun=$(date +%s%N)
	kill -TERM $server; wait $server
	took=$(( ($(date +%s%N) - begun) / 1000000 ))
	echo "stopped after $took ms"; [ $took -lt 2000 ]
}
sql() { mariadb --protocol tcp --host "$1" --user root --password="$(cat /run/password)" --batch --skip-column-names --execute "$2"; }
MARIADB_ROOT_PASSWORD_FILE=/run/password MARIADB_AUTO_UPGRADE=1 boot --character-set-server=utf8mb4 --skip-character-set-client-handshake
sql 127.0.0.1 "SELECT CONCAT(user, '@', host) FROM mysql.user ORDER BY 1; SELECT CONCAT('charset ', @@character_set_server); CREATE DATABASE kept"
sql "$(hostname -i | cut -d' ' -f1)" "SELECT CONCAT('as ', CURRENT_USER())"
if mariadb --protocol tcp --host 127.0.0.1 --user root --execute 'SELECT 1' 2>/dev/null; then echo "no password needed"; exit 1; fi
echo "owner $(stat -c %U /var/lib/mysql/kept) runs as $(awk '/^Uid/ {print $2}' /proc/$server/status) ($(id -u mysql))"
halt
boot mariadbd
sql localhost 'SHOW DATABASES'
halt`

var mariaDBSays = []string{"set MARIADB_ROOT_PASSWORD or MARIADB_ROOT_PASSWORD_FILE", "root@%\nroot@localhost\n", "charset utf8mb4", "as root@%", "owner mysql runs as 999 (999)", "\nkept\n"}

var uses = []struct {
	image, script string
	want          []string
}{
	{
		"debian:bookworm-slim",
		`. /etc/os-release; echo "$VERSION_CODENAME"
cat /etc/apt/sources.list
apt-get update -qq 2>&1; apt-get install -qq --yes redis-server >/dev/null 2>&1
echo "archives left: $(find /var/cache/apt/archives -name '*.deb' | wc -l)"
if pgrep redis-server 2>/dev/null || ls /proc/*/exe -l 2>/dev/null | grep redis; then echo "a service started by itself"; exit 1; fi`,
		[]string{"bookworm\n", "bookworm-security main", "bookworm-updates main", "archives left: 0"},
	},
	{
		"python:3.11.6-slim-bookworm",
		`command -v python3 python pip
pip install --quiet --root-user-action=ignore six && python -c 'import six; print("installed", six.__name__)'
python3 -m venv /tmp/env && /tmp/env/bin/python -c 'import sys; print("prefix", sys.prefix, sys.version_info[:2])'
python3 -c 'import sysconfig, os; print("header", os.path.exists(sysconfig.get_paths()["include"] + "/Python.h"))'`,
		[]string{"/usr/local/bin/python3\n/usr/local/bin/python\n/usr/local/bin/pip\n", "installed six", "prefix /tmp/env (3, 11)", "header True"},
	},
	{
		"node:18.18.2-bookworm-slim",
		`command -v node npm npx yarn
node --version; npm --version; npx --version; yarn --version
ls -d /usr/local/lib/node_modules/npm /usr/local/include/node/node.h
id -u node
node -e 'console.log("runs", process.platform, process.release.name)'`,
		[]string{"/usr/local/bin/node\n/usr/local/bin/npm\n/usr/local/bin/npx\n/usr/local/bin/yarn\n", "v18.18.2\n9.", "\n1.22.", "1000", "runs linux node"},
	},
	{"mariadb:10.11", useMariaDB, mariaDBSays},
	{
		"mariadb:11.8",
		"if ls /usr/bin/mysql* /usr/sbin/mysql* 2>/dev/null; then echo 'it has old names'; exit 1; fi\n" + useMariaDB,
		mariaDBSays,
	},
	{
		"redis:7.2",
		`docker-entrypoint.sh --appendonly yes --port 6380 >/tmp/log & server=$!
until redis-cli -p 6380 ping 2>/dev/null | grep PONG; do sleep 0.1; kill -0 $server; done
redis-cli -p 6380 set key value
redis-cli -p 6380 config get protected-mode
redis-cli -h "$(hostname -i | cut -d' ' -f1)" -p 6380 get key
echo "owner $(stat -c %U /data/appendonlydir)"
kill -TERM $server; wait $server
docker-entrypoint.sh redis-cli --version`,
		[]string{"PONG\n", "protected-mode\nno\n", "value\n", "owner redis", "redis-cli 7."},
	},
	{
		"traefik:v3.7",
		`/entrypoint.sh version
/entrypoint.sh --entrypoints.web.address=:8080 --providers.file.directory=/tmp >/tmp/log & server=$!
until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.1; kill -0 $server || { cat /tmp/log; exit 1; }; done
exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /nowhere HTTP/1.0\r\n\r\n' >&3; cat <&3
kill $server`,
		[]string{"3.7.", "404 page not found"},
	},
	{
		"nginx:1.28-alpine",
		`printf 'events { }\nhttp { server { listen 8080; location / { return 503 "a page\\n"; } } }\n' >/etc/nginx/page.conf
nginx -c /etc/nginx/page.conf -g 'daemon off;' & server=$!
until curl --silent --include http://127.0.0.1:8080/; do sleep 0.1; kill -0 $server; done
kill -QUIT $server; wait $server; nginx -v`,
		[]string{"HTTP/1.1 503", "a page\n", "nginx/1."},
	},
	{
		"restic/restic:0.18.0",
		`export RESTIC_PASSWORD=password RESTIC_REPOSITORY=/tmp/repository
restic init; echo content >/tmp/file; restic backup /tmp/file; restic check
restic restore latest --target /tmp/back; cat /tmp/back/tmp/file`,
		[]string{"no errors were found", "\ncontent\n"},
	},
}

// TestEntrypoints checks that the images run what a compose file has for them as
// command.
func TestEntrypoints(t *testing.T) {
	if testing.Short() {
		t.Skip("builds images")
	}
	client, mirror := enginetest.Session(t)
	if _, err := Ensure(t.Context(), client, mirror, append(All(), Newer()...), enginetest.Log(t)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		image   string
		command []string
		want    string
	}{
		{"mariadb:10.11", []string{"--version"}, "10.11."},
		{"mariadb:11.8", []string{"--version"}, "11.8."},
		{"redis:7.2", []string{"--version"}, "Redis server v=7."},
		{"traefik:v3.7", []string{"version"}, "3.7."},
		{"nginx:1.28-alpine", []string{"nginx", "-v"}, "nginx/1."},
		{"restic/restic:0.18.0", []string{"version"}, "restic 0."},
		{"node:18.18.2-bookworm-slim", []string{"node", "--version"}, "v18.18.2"},
	} {
		t.Run(test.image, func(t *testing.T) {
			out, err := client.Container().From(test.image).
				WithExec(test.command, dagger.ContainerWithExecOpts{UseEntrypoint: true}).
				CombinedOutput(t.Context())
			if err != nil {
				t.Fatal(execError(err))
			}
			if !strings.Contains(out, test.want) {
				t.Errorf("%v printed %q, want it to contain %q", test.command, out, test.want)
			}
		})
	}
}
