//go:build unix

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// siteVerbs is site.py for a bench in a folder, as a step hands it to Python.
func siteVerbs(bench string) string {
	return strings.ReplaceAll(stepFile("database.py")+stepFile("site.py"), "/home/frappe/frappe-bench", bench)
}

// newBench is a folder with the files of a bench.
func newBench(t *testing.T, files map[string]string) string {
	t.Helper()
	bench := t.TempDir()
	for name, text := range files {
		path := filepath.Join(bench, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return bench
}

// A server that keeps what it read once, as Frappe 16 keeps the configuration of
// sites for a minute.
const cachingApp = `import functools, json, os, time
@functools.lru_cache
def mode(): return json.load(open("a.test/site_config.json")).get("maintenance_mode")
def application(environ, respond):
    closed = mode()
    if environ["PATH_INFO"] == "/slow": time.sleep(2)
    if environ["PATH_INFO"] == "/login": time.sleep(0.3); print(os.getpid(), file=open("../made", "a"))
    broken = environ.get("HTTP_HOST") == "b.test"
    respond("500 Broken" if broken else "503 Closed" if closed else "200 OK", [])
    return [str(os.getpid()).encode()]
`

// What visitors see of a server while its sites are closed. It has processes and a
// network of its own: others on this machine are no business of it.
const cachingScript = `set -eu
ip link set lo up
export http_proxy=http://127.0.0.1:9 no_proxy=localhost,127.0.0.0/8
cd "$1/sites"
PYTHONPATH=$1 gunicorn --bind 127.0.0.1:8000 --workers 2 --threads 2 --worker-class gthread app:application 2>"$1/log" &
verb() { /usr/bin/python3 -c "$SITE" "$@"; }
code() { curl --silent --noproxy '*' --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:8000$1"; }
verb answers a.test
verb mute a.test b.test
verb warm a.test
echo "pages: $(wc -l <../made)"
# Both processes have read it; which of them gets a connection is not for certain.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(sort -u ../made | wc -l)" -lt 2 ] || break
	verb warm a.test
done
verb close a.test
echo "closed: $(code /)"
code /slow >slow &
slow=$!
sleep 0.5
verb renew 30
echo "renewed: $(for _ in 1 2 3 4 5 6 7 8; do code /; echo; done | sort -u | paste -sd ' ')"
wait "$slow"
echo "under way: $(cat slow)"
verb answers a.test
rm ../apps/frappe/frappe/config.py
verb renew 1
echo "renewed $(grep -c 'Handling signal: hup' "$1/log") times"
`

// TestServersThatKeepConfiguration: a site that is closed is closed for every
// process that answers, and a request that was under way is answered. No proxy for
// the way out is asked for what is on this machine, and what was broken before is
// known.
func TestServersThatKeepConfiguration(t *testing.T) {
	short(t)
	debiantest.Install(t, "gunicorn", "curl", "iproute2")
	bench := newBench(t, map[string]string{
		"app.py": cachingApp, "apps/frappe/frappe/config.py": "from frappe.utils.caching import site_cache\n",
		"sites/common_site_config.json": "{}", "sites/a.test/site_config.json": "{}", "sites/b.test/site_config.json": "{}",
	})
	cmd := exec.Command("unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", cachingScript, "sh", bench)
	cmd.Env = append(os.Environ(), "SITE="+siteVerbs(bench))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "a.test answers with 200\nb.test 500\npages: 6\nclosed: 200\nrenewed: 503\nunder way: 200\na.test answers with 503\nrenewed 1 times\n"
	if string(out) != want {
		t.Errorf("it says\n%s\nwant\n%s", out, want)
	}
}

// TestPutBack: sites go back into their modes also where the cache is down, and
// what is in one database with the queue is not all of it a cache.
func TestPutBack(t *testing.T) {
	short(t)
	debiantest.Install(t, "redis-server", "redis-tools", "python3-redis")
	port := freePort(t)
	server := "redis://127.0.0.1:" + port
	for _, tc := range []struct{ name, cache, queue, left string }{
		{"a cache of its own", server, server + "/1", ""},
		{"one for both", server, server, "rq:queue:long"},
		{"one for both, named otherwise", server, strings.Replace(server, "127.0.0.1", "localhost", 1) + "/0", "rq:queue:long"},
		{"none that answers", "redis://127.0.0.1:9", server, "rq:queue:long\nassets_json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bench := newBench(t, map[string]string{
				"sites/common_site_config.json": fmt.Sprintf(`{"redis_cache": %q, "redis_queue": %q}`, tc.cache, tc.queue),
				"sites/a.test/site_config.json": `{"maintenance_mode": 1}`,
				"run": `set -eu
redis-server --bind 127.0.0.1 --port "$1" --save '' --dir "$2" >/dev/null &
trap "kill $!; wait $! || true" EXIT
until redis-cli -p "$1" ping >/dev/null 2>&1; do sleep 0.05; done
redis-cli -p "$1" set assets_json 1 >/dev/null
redis-cli -p "$1" rpush rq:queue:long job >/dev/null
/usr/bin/python3 -c "$SITE" put_back '{"a.test": null}' >&2
redis-cli -p "$1" keys '*' | sort -r
`})
			cmd := exec.Command("sh", filepath.Join(bench, "run"), port, bench)
			cmd.Env = append(os.Environ(), "SITE="+siteVerbs(bench))
			var said strings.Builder
			cmd.Stderr = &said
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &said)
			}
			if left := strings.TrimSpace(string(out)); left != tc.left {
				t.Errorf("%q is left, want %q", left, tc.left)
			}
			text, err := os.ReadFile(filepath.Join(bench, "sites/a.test/site_config.json"))
			if err != nil || string(text) != "{}" {
				t.Errorf("%v, %s", err, text)
			}
		})
	}
}

// TestFilesElsewhere: the files of a site are packed and put back also where their
// folder is a link to another disk, or a disk of its own, and after an attempt that
// was cut off.
func TestFilesElsewhere(t *testing.T) {
	short(t)
	debiantest.Install(t, "python3", "tar")
	bench := newBench(t, map[string]string{
		"sites/a.test/public/files/other": "", "public/empty": "", "private/one": "private", "private/in/two": "2",
		"run": `set -eu
bench=$1
cd "$bench/sites/a.test"
mount --bind "$bench/public" public/files
mkdir private
ln -s "$bench/private" private/files
printf public >public/files/one
mkdir -m 0 public/files/lost+found
ln -s one public/files/link
cd ..
verb() { /usr/bin/python3 -c "$SITE" "$@"; }
state() { (cd a.test && find public/files/ private/files/ -type f -print -exec cat {} \; -exec echo \; -o -type l -printf '%p to %l\n') | sort; }
state >../before
verb pack a.test >../archive
! tar -tf ../archive | grep -F lost+found
echo changed >a.test/public/files/one
echo new >a.test/private/files/three
rm a.test/private/files/in/two
# As another attempt left it.
mkdir -p a.test/public/files/.replaced-files a.test/.restored-files/public a.test/private/files/.restored-files
mv a.test/public/files/link a.test/public/files/.replaced-files/
verb unpack a.test <../archive
state | diff ../before -
[ -L a.test/private/files ]
[ -d a.test/public/files/lost+found ]
find . "$bench/public" "$bench/private" -name '.re*'
# Without one of the folders.
rm a.test/private/files
verb pack a.test >../archive
mkdir a.test/private/files
echo kept >a.test/private/files/one
echo changed >a.test/public/files/one
verb unpack a.test <../archive
cat a.test/private/files/one a.test/public/files/one
`})
	cmd := exec.Command("unshare", "--mount", "sh", filepath.Join(bench, "run"), bench)
	cmd.Env = append(os.Environ(), "SITE="+siteVerbs(bench))
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "kept\npublic" {
		t.Fatalf("%v\n%s", err, out)
	}
}
