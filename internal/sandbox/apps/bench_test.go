package apps

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

const (
	site         = "erp.localhost"
	rootPassword = "of-this-test-only"
)

// bench is a bench folder made of the fixture apps by hand, as a pipeline
// makes it, with the real bench command, MariaDB and Redis.
type bench struct {
	repositories Repositories
	dir          string
	path         string // PATH with the bench command first
	python       string
	webPort      int
	socketPort   int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("installs and starts MariaDB, Redis and the bench command")
	}
	debiantest.Install(t, "git", "mariadb-server", "redis-server", "python3-venv")
	root := t.TempDir()
	b := &bench{dir: filepath.Join(root, "frappe-bench"), webPort: freePort(t), socketPort: freePort(t)}
	b.python = filepath.Join(b.dir, "env", "bin", "python")
	for _, folder := range []string{"apps", "sites", "config/pids", "logs"} {
		if err := os.MkdirAll(filepath.Join(b.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if b.repositories, err = Write(t.Context(), filepath.Join(root, "git")); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ref := range Version1() {
		r, _ := b.repositories.Find(ref.Name)
		command(t, root, nil, "git", "clone", "--quiet", r.Dir, filepath.Join(b.dir, "apps", r.Name))
		b.checkout(t, ref.Name, ref.Ref)
		names = append(names, ref.Name)
	}
	b.write(t, "sites/apps.txt", strings.Join(names, "\n")+"\n")

	config := map[string]any{"db_host": "127.0.0.1", "socketio_port": b.socketPort, "scheduler_tick_interval": 1}
	if os.Geteuid() == 0 {
		// Else bench refuses to run as root.
		config["frappe_user"] = "root"
	}
	var starting sync.WaitGroup
	starting.Go(func() { b.installPython(t, root) })
	config["db_port"] = startMariaDB(t, filepath.Join(root, "db"))
	redis := startRedis(t, root)
	config["redis_cache"] = fmt.Sprintf("redis://127.0.0.1:%d/0", redis)
	config["redis_queue"] = fmt.Sprintf("redis://127.0.0.1:%d/1", redis)
	starting.Wait()
	content, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "sites/common_site_config.json", string(content))
	return b
}

// installPython makes the virtualenv of the apps, and another one of the bench
// command, whose requirements differ.
func (b *bench) installPython(t *testing.T, root string) {
	tools := filepath.Join(root, "tools")
	b.path = filepath.Join(tools, "bin") + ":/usr/sbin:" + os.Getenv("PATH")
	command(t, root, nil, "/usr/bin/python3", "-m", "venv", tools)
	command(t, root, nil, filepath.Join(tools, "bin/pip"), "install", "--quiet", "--no-compile", "uv")
	uv := filepath.Join(tools, "bin/uv")
	command(t, root, nil, uv, "pip", "install", "--quiet", "--python", filepath.Join(tools, "bin/python"), "frappe-bench>=5,<6")
	command(t, b.dir, nil, uv, "venv", "--quiet", "--python", "/usr/bin/python3", "env")
	command(t, b.dir, nil, uv, "pip", "install", "--quiet", "--python", b.python, "flit_core>=3.4,<4")
	args := []string{"pip", "install", "--quiet", "--python", b.python, "--no-build-isolation"}
	for _, ref := range Version1() {
		args = append(args, "--editable", "apps/"+ref.Name)
	}
	command(t, b.dir, nil, uv, args...)
}

func (b *bench) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (b *bench) checkout(t *testing.T, app, ref string) {
	t.Helper()
	command(t, filepath.Join(b.dir, "apps", app), nil, "git", "checkout", "--quiet", ref)
}

// run calls the bench command and returns what it printed and its exit code.
func (b *bench) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.SplitList(b.path)[0], "bench"), args...)
	cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "PATH="+b.path)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// must calls the bench command for the site and wants it to succeed.
func (b *bench) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := b.run(t, append([]string{"--site", site}, args...)...)
	if code != 0 {
		t.Fatalf("bench %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// customers returns a column of the customers, in the order of their names.
func (b *bench) customers(t *testing.T, field string) string {
	t.Helper()
	out := b.must(t, "execute", "frappe.db.get_all", "--args", fmt.Sprintf(`["Customer", [%q], None, "name"]`, field))
	var rows []map[string]string
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var values []string
	for _, row := range rows {
		values = append(values, row[field])
	}
	return strings.Join(values, ", ")
}

// request asks the web server for a path of a site.
func (b *bench) request(t *testing.T, host, method, path string, body string) (int, string) {
	t.Helper()
	address := fmt.Sprintf("http://127.0.0.1:%d%s", b.webPort, path)
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func (b *bench) wantGet(t *testing.T, path string, status int, want string) {
	t.Helper()
	if code, body := b.request(t, site, http.MethodGet, path, ""); code != status || !strings.Contains(body, want) {
		t.Errorf("GET %s: %d, want %d with %q in\n%s", path, code, status, want, body)
	}
}

// serve starts gunicorn as an image's backend does.
func (b *bench) serve(t *testing.T) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", b.webPort)
	start(t, filepath.Join(b.dir, "sites"), os.Environ(), filepath.Join(b.dir, "env/bin/gunicorn"), "--bind", address,
		"--threads", "4", "--workers", "2", "--worker-class", "gthread", "--timeout", "120", "--preload", "frappe.app:application")
	reach(t, address)
}

// process is a program that runs beside the test.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs a program until it ends or the test does.
func start(t *testing.T, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		if !p.terminate(10 * time.Second) {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), &p.out)
		}
	})
	return p
}

// terminate asks the program to end and reports whether it did in time.
func (p *process) terminate(within time.Duration) bool {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.ended(within)
}

func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// reach waits until something listens.
func reach(t *testing.T, address string) {
	t.Helper()
	eventually(t, "reach "+address, func() bool {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("did not come to %s", what)
}

func startMariaDB(t *testing.T, dir string) int {
	t.Helper()
	user := []string{}
	if os.Geteuid() == 0 {
		user = []string{"--user=root"}
	}
	data := filepath.Join(dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, dir, nil, "/usr/bin/mariadb-install-db", append([]string{"--no-defaults", "--datadir=" + data,
		"--auth-root-authentication-method=normal", "--skip-test-db"}, user...)...)
	// One statement a line.
	grant := "CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '" + rootPassword + "';\n" +
		"GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
	initial := filepath.Join(dir, "initial.sql")
	if err := os.WriteFile(initial, []byte(grant), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	start(t, dir, os.Environ(), "/usr/sbin/mariadbd", append([]string{"--no-defaults", "--datadir=" + data, "--init-file=" + initial,
		"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port), "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"}, user...)...)
	reach(t, fmt.Sprintf("127.0.0.1:%d", port))
	return port
}

func startRedis(t *testing.T, dir string) int {
	t.Helper()
	port := freePort(t)
	start(t, dir, os.Environ(), "/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "")
	reach(t, fmt.Sprintf("127.0.0.1:%d", port))
	return port
}

// TestBench takes one site through its life: made, served, backed up,
// migrated, broken, restored.
func TestBench(t *testing.T) {
	begin := time.Now()
	b := newBench(t)
	t.Logf("bench made in %s", time.Since(begin).Round(time.Second))
	if t.Failed() {
		t.FailNow()
	}
	b.serve(t)
	steps := []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"new-site", newSite},
		{"assets", buildAssets},
		{"serve", serveSite},
		{"socketio", answerSocket},
		{"jobs", doJobs},
		{"scheduler", scheduleJobs},
		{"maintenance", maintain},
		{"backup", backUp},
		{"migrate", migrate},
		{"failing patch", failPatch},
		{"restore", restore},
		{"slow patch", slowPatch},
	}
	for _, step := range steps {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, b) }) {
			// Each step stands on those before it.
			return
		}
	}
}

func newSite(t *testing.T, b *bench) {
	out, code := b.run(t, "new-site", site, "--db-root-username", "root", "--db-root-password", rootPassword,
		"--admin-password", "admin", "--no-mariadb-socket", "--install-app", "hrms", "--install-app", "payments",
		"--install-app", "de_macrs", "--install-app", "de_customs")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if out, code := b.run(t, "new-site", site, "--db-root-password", rootPassword); code != 1 || !strings.Contains(out, "already exists") {
		t.Errorf("a second time: exit %d\n%s", code, out)
	}
	// hrms requires erpnext, which therefore comes before it.
	want := map[string][]string{site: {"frappe", "erpnext", "hrms", "payments", "de_macrs", "de_customs"}}
	var got map[string][]string
	if out := b.must(t, "list-apps", "-f", "json"); json.Unmarshal([]byte(out), &got) != nil || !slices.Equal(got[site], want[site]) {
		t.Errorf("list-apps: want %v, got %s", want, out)
	}
	out, code = b.run(t, "version", "-f", "json")
	if code != 0 || !strings.Contains(out, `"app": "erpnext"`) || !strings.Contains(out, `"version": "15.1.0"`) {
		t.Errorf("version: exit %d\n%s", code, out)
	}
	if out, code := b.run(t, "--site", "no.localhost", "list-apps"); code != 1 || !strings.Contains(out, "Site no.localhost does not exist!") {
		t.Errorf("unknown site: exit %d\n%s", code, out)
	}
	if out, code := b.run(t, "migrate"); code != 1 || !strings.Contains(out, "Please specify --site sitename") {
		t.Errorf("no site: exit %d\n%s", code, out)
	}
}

func buildAssets(t *testing.T, b *bench) {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("needs node and npm")
	}
	yarn, err := exec.LookPath("yarn")
	if err != nil {
		tools := t.TempDir()
		command(t, tools, nil, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", tools, "yarn@1.22.22")
		yarn = filepath.Join(tools, "node_modules/.bin/yarn")
		b.path = b.path + ":" + filepath.Dir(yarn)
	}
	env := []string{"PATH=" + b.path}
	for _, app := range []string{"frappe", "hrms"} {
		command(t, filepath.Join(b.dir, "apps", app), env, yarn, "install", "--frozen-lockfile", "--silent", "--no-progress")
	}
	if out, code := b.run(t, "build", "--production", "--force"); code != 0 {
		t.Fatalf("build: exit %d\n%s", code, out)
	}
	before := assets(t, b)
	for _, bundle := range []string{"website.bundle.css", "rtl_website.bundle.css", "frappe-web.bundle.js", "erpnext-web.bundle.css", "erpnext-web.bundle.js", "hrms.bundle.js"} {
		if content := b.read(t, "sites"+before[bundle]); content == "" {
			t.Errorf("%s is empty", bundle)
		}
	}
	if !regexp.MustCompile(`^/assets/frappe/dist/js/frappe-web\.bundle\.[A-Z0-9]{8}\.js$`).MatchString(before["frappe-web.bundle.js"]) {
		t.Errorf("frappe-web.bundle.js is %s", before["frappe-web.bundle.js"])
	}
	if css := b.read(t, "sites"+before["rtl_website.bundle.css"]); !strings.Contains(css, "margin-right:2rem") {
		t.Errorf("not mirrored:\n%s", css)
	}

	// Only some apps are merged into what is there.
	b.checkout(t, "erpnext", "v15.1.1")
	command(t, filepath.Join(b.dir, "apps/frappe"), env, yarn, "production", "--apps", "erpnext")
	after := assets(t, b)
	for bundle := range before {
		if changed := before[bundle] != after[bundle]; changed != (bundle == "erpnext-web.bundle.js") {
			t.Errorf("%s was %s, is %s", bundle, before[bundle], after[bundle])
		}
	}
	if _, err := os.Stat(filepath.Join(b.dir, "sites", before["erpnext-web.bundle.js"])); !os.IsNotExist(err) {
		t.Errorf("the older bundle is still there: %v", err)
	}
	b.checkout(t, "erpnext", "v15.1.0")

	// The front end of hrms knows the bench's setting.
	page := b.read(t, "apps/hrms/hrms/www/hrms.html")
	script := regexp.MustCompile(`/assets/hrms/frontend/assets/main\.[A-Z0-9]{8}\.js`).FindString(page)
	if script == "" || !strings.Contains(b.read(t, "sites"+script), fmt.Sprint(b.socketPort)) {
		t.Errorf("no script with the port %d in\n%s", b.socketPort, page)
	}
}

func assets(t *testing.T, b *bench) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{"assets.json", "assets-rtl.json"} {
		if err := json.Unmarshal([]byte(b.read(t, "sites/assets/"+name)), &all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func serveSite(t *testing.T, b *bench) {
	b.wantGet(t, "/api/method/ping", 200, `{"message": "pong"}`)
	b.wantGet(t, "/api/method/version", 200, `"de_customs": "0.0.5"`)
	b.wantGet(t, "/api/method/erpnext.selling.doctype.customer.customer.slugs", 200, `"aero-skibsvaerft"`)
	b.wantGet(t, "/api/method/de_customs.reports.customers", 200, `"three"`)
	b.wantGet(t, "/api/method/de_macrs.rates.schedule?cost=1000", 200, "[200.0, 320.0, 192.0, 115.2, 115.2, 57.6]")
	b.wantGet(t, "/api/method/os.getcwd", 403, "PermissionError")
	b.wantGet(t, "/api/method/erpnext.nothing", 404, "")
	b.wantGet(t, "/nothing", 404, "Not Found")
	if code, body := b.request(t, "other.localhost", http.MethodGet, "/api/method/ping", ""); code != 404 {
		t.Errorf("unknown site: %d\n%s", code, body)
	}
	if code, body := b.request(t, site, http.MethodPost, "/api/resource/Note", `{"title": "Ærlig"}`); code != 200 {
		t.Errorf("POST: %d\n%s", code, body)
	}
	b.wantGet(t, "/api/resource/Note?fields="+url.QueryEscape(`["title"]`), 200, `{"data": [{"title": "\u00c6rlig"}]}`)
	b.wantGet(t, "/api/resource/Nothing", 404, "DoesNotExistError")

	if _, err := os.Stat(filepath.Join(b.dir, "sites/assets/assets.json")); err != nil {
		return // built nowhere: the bundles have no address
	}
	for bundle, address := range assets(t, b) {
		if !strings.HasPrefix(bundle, "rtl_") && bundle != "hrms.bundle.js" {
			b.wantGet(t, "/login", 200, `"`+address+`"`)
		}
	}
	b.wantGet(t, "/hrms", 200, "/assets/hrms/frontend/assets/main.")

	// The list of bundles is in Redis now; clear-cache leaves it there.
	b.must(t, "clear-cache")
	known := b.read(t, "sites/assets/assets.json")
	b.write(t, "sites/assets/assets.json", strings.ReplaceAll(known, "/frappe-web.bundle.", "/frappe-web.changed."))
	defer b.write(t, "sites/assets/assets.json", known)
	b.wantGet(t, "/login", 200, "/frappe-web.bundle.")
	b.must(t, "execute", "frappe.cache.delete_value", "--args", "['assets_json']", "--kwargs", "{'shared': True}")
	b.wantGet(t, "/login", 200, "/frappe-web.changed.")
	b.must(t, "execute", "frappe.cache.delete_value", "--args", "['assets_json']", "--kwargs", "{'shared': True}")
}

func answerSocket(t *testing.T, b *bench) {
	if _, err := os.Stat(filepath.Join(b.dir, "apps/frappe/node_modules")); err != nil {
		t.Skip("needs frappe's node modules")
	}
	server := start(t, b.dir, os.Environ(), "node", "apps/frappe/socketio.js")
	address := fmt.Sprintf("127.0.0.1:%d", b.socketPort)
	reach(t, address)
	response, err := http.Get("http://" + address + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !regexp.MustCompile(`^0\{"sid":"[^"]+"`).Match(body) {
		t.Errorf("%d, %v: %s", response.StatusCode, err, body)
	}
	socket := openSocket(t, address)
	if got := socket.receive(t); !strings.HasPrefix(got, `0{"sid":"`) {
		t.Errorf("the first packet is %q", got)
	}
	for _, exchange := range []struct{ send, want string }{
		{"40", `40{"sid":"`},
		{"40/" + site + ",", `40/` + site + `,{"sid":"`},
		{"2probe", "3probe"},
		// The length of its frame has a field of its own.
		{"2" + strings.Repeat("long", 50), "3" + strings.Repeat("long", 50)},
	} {
		socket.send(t, exchange.send)
		if got := socket.receive(t); !strings.HasPrefix(got, exchange.want) {
			t.Errorf("the answer to %q is %q, want %q", exchange.send, got, exchange.want)
		}
	}
	if !server.terminate(2 * time.Second) {
		t.Error("still there two seconds after SIGTERM, with a WebSocket open")
	}
	if _, err := socket.from.ReadByte(); err != io.EOF {
		t.Errorf("the WebSocket of a server that ended: %v, want EOF", err)
	}
}

// socket is a WebSocket connection, as a browser has it.
type socket struct {
	net.Conn
	from *bufio.Reader
}

func openSocket(t *testing.T, address string) *socket {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s := &socket{conn, bufio.NewReader(conn)}
	// Key and answer are the example of RFC 6455.
	fmt.Fprintf(s, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", address)
	response, err := http.ReadResponse(s.from, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // It has none: what follows is the WebSocket.
	if got := response.Header.Get("Sec-WebSocket-Accept"); response.StatusCode != http.StatusSwitchingProtocols || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("asked for a WebSocket: %s, Sec-WebSocket-Accept %q", response.Status, got)
	}
	return s
}

// send sends a text. A client has to mask what it sends.
func (s *socket) send(t *testing.T, text string) {
	t.Helper()
	mask := []byte{1, 2, 3, 4}
	frame := []byte{0x81, 0x80 | byte(len(text))}
	if len(text) > 125 {
		frame = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(text)))
	}
	frame = append(frame, mask...)
	for i := range len(text) {
		frame = append(frame, text[i]^mask[i%4])
	}
	if _, err := s.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next text.
func (s *socket) receive(t *testing.T) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(s.from, head); err != nil || head[0] != 0x81 {
		t.Fatalf("no text: %v, %x", err, head)
	}
	length := uint16(head[1])
	if length == 126 {
		if err := binary.Read(s.from, binary.BigEndian, &length); err != nil {
			t.Fatal(err)
		}
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(s.from, text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func doJobs(t *testing.T, b *bench) {
	const write = "/api/method/frappe.desk.doctype.note.note.write_later?title=queued"
	b.wantGet(t, write, 200, site+"::")
	if out, code := b.run(t, "--site", site, "ready-for-migration"); code != 1 || !strings.Contains(out, "NOT READY") {
		t.Errorf("with a job queued: exit %d\n%s", code, out)
	}
	env := append(os.Environ(), "PATH="+b.path)
	worker := start(t, b.dir, env, filepath.Join(filepath.SplitList(b.path)[0], "bench"), "worker", "--queue", "short,default")
	eventually(t, "see the note of the worker", func() bool {
		_, body := b.request(t, site, http.MethodGet, "/api/resource/Note?fields="+url.QueryEscape(`["title"]`), "")
		return strings.Contains(body, "queued")
	})
	if out := b.must(t, "ready-for-migration"); !strings.HasPrefix(out, "READY") {
		t.Errorf("with nothing queued: %s", out)
	}
	// A job in hand is finished first.
	b.wantGet(t, write+"-slowly&seconds=2", 200, site+"::")
	eventually(t, "see the slow job begin", func() bool { return strings.Contains(worker.out.String(), "sleeping...") })
	if !worker.terminate(6 * time.Second) {
		t.Error("the worker is still there six seconds after SIGTERM")
	}
	b.wantGet(t, "/api/resource/Note?fields="+url.QueryEscape(`["title"]`), 200, "queued-slowly")
}

func scheduleJobs(t *testing.T, b *bench) {
	if out := b.must(t, "scheduler", "status"); !strings.Contains(out, "Scheduler is disabled for site "+site) {
		t.Errorf("a new site: %s", out)
	}
	b.must(t, "enable-scheduler")
	scheduler := start(t, filepath.Join(b.dir, "sites"), os.Environ(), b.python, "-m", "frappe.utils.bench_helper", "frappe", "schedule")
	worker := start(t, filepath.Join(b.dir, "sites"), os.Environ(), b.python, "-m", "frappe.utils.bench_helper", "frappe", "worker")
	eventually(t, "see a heartbeat", func() bool {
		out := b.must(t, "execute", "frappe.db.count", "--args", `["Scheduled Job Log"]`)
		return strings.TrimSpace(out) != ""
	})
	if !scheduler.terminate(2*time.Second) || !worker.terminate(5*time.Second) {
		t.Error("scheduler or worker does not end")
	}
	b.must(t, "scheduler", "disable")
}

func maintain(t *testing.T, b *bench) {
	b.must(t, "set-maintenance-mode", "on")
	b.wantGet(t, "/api/method/ping", 503, "SessionStopped")
	b.wantGet(t, "/login", 503, "Updating")
	if out, code := b.run(t, "--site", "all", "set-config", "-p", "maintenance_mode", "0"); code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
	b.wantGet(t, "/api/method/ping", 200, "pong")
}

func backUp(t *testing.T, b *bench) {
	b.write(t, "sites/"+site+"/public/files/logo.svg", "<svg/>")
	b.write(t, "sites/"+site+"/private/files/contract.txt", "signed")
	out := b.must(t, "backup", "--with-files", "--backup-path", filepath.Join(b.dir, "backups"))
	if !strings.Contains(out, "Backup for Site "+site+" has been successfully completed with files") {
		t.Error(out)
	}
	for _, kind := range []string{"database.sql.gz", "files.tar", "private-files.tar", "site_config_backup.json"} {
		name := backupFile(t, b, kind)
		if !regexp.MustCompile(`/\d{8}_\d{6}-erp_localhost-` + regexp.QuoteMeta(kind) + "$").MatchString(name) {
			t.Errorf("%s is %s", kind, name)
		}
	}
	command(t, b.dir, nil, "gzip", "--test", backupFile(t, b, "database.sql.gz"))
	header := command(t, b.dir, nil, "zgrep", "--max-count=1", "Backup generated", backupFile(t, b, "database.sql.gz"))
	if !strings.HasPrefix(header, "-- Backup generated by Frappe 15.1.0 on branch ") {
		t.Errorf("header is %s", header)
	}
	if out, code := b.run(t, "--site", "no.localhost", "backup"); code != 1 || !strings.Contains(out, "Backup failed for Site no.localhost") {
		t.Errorf("unknown site: exit %d\n%s", code, out)
	}
}

func backupFile(t *testing.T, b *bench, kind string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, "backups", "*-erp_localhost-"+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", kind, found, err)
	}
	return found[0]
}

func migrate(t *testing.T, b *bench) {
	for _, ref := range Version2() {
		b.checkout(t, ref.Name, ref.Ref)
	}
	// With the modules that the release before had left in the cache, as Frappe does.
	if out, code := b.run(t, "--site", site, "migrate"); code == 0 || !strings.Contains(out, "tabCustomer Group") {
		t.Errorf("with the modules of another release: exit %d\n%s", code, out)
	}
	b.must(t, "clear-cache")
	out := b.must(t, "migrate")
	patch := regexp.MustCompile(`Executing erpnext\.patches\.v15_1\.set_customer_group in ` + site + ` \(_[0-9a-f]{16}\)`)
	if !patch.MatchString(out) {
		t.Errorf("patch not run:\n%s", out)
	}
	if got := b.customers(t, "customer_group"); got != "Commercial, Commercial, Commercial" {
		t.Errorf("customer groups are %s", got)
	}
	if got := b.must(t, "list-apps"); !regexp.MustCompile(`erpnext +15\.1\.1`).MatchString(got) {
		t.Errorf("list-apps:\n%s", got)
	}
	var touched []string
	if err := json.Unmarshal([]byte(b.read(t, "sites/"+site+"/touched_tables.json")), &touched); err != nil || !slices.Contains(touched, "tabCustomer") {
		t.Errorf("touched tables are %v, %v", touched, err)
	}
	if out := b.must(t, "migrate"); strings.Contains(out, "Executing") {
		t.Errorf("a second time:\n%s", out)
	}
}

func failPatch(t *testing.T, b *bench) {
	b.checkout(t, "erpnext", "v15.1.2")
	const first, second = "Executing erpnext.patches.v15_1.rename_territories", "Executing erpnext.patches.v15_1.merge_customers"
	out, code := b.run(t, "--site", site, "migrate")
	if code != 1 || !strings.Contains(out, first) || !strings.Contains(out, second) || !strings.Contains(out, "no_such_column") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// The first patch stays, the second is rolled back.
	if got := b.customers(t, "territory"); got != "Region: Denmark, Region: United Kingdom, Region: " {
		t.Errorf("territories are %s", got)
	}
	for range 2 {
		out := b.must(t, "migrate", "--skip-failing")
		if strings.Contains(out, first) || !strings.Contains(out, second) || !strings.Contains(out, "Failed to execute patch") {
			t.Errorf("skipped patches are run again, done ones are not:\n%s", out)
		}
	}
	if got := strings.TrimSpace(b.must(t, "execute", "frappe.db.count", "--args", `["Patch Log", {"skipped": 1}]`)); got != "2" {
		t.Errorf("%s skipped patches", got)
	}
}

func restore(t *testing.T, b *bench) {
	for _, ref := range Version1() {
		b.checkout(t, ref.Name, ref.Ref)
	}
	for _, name := range []string{"public/files/logo.svg", "private/files/contract.txt"} {
		b.write(t, "sites/"+site+"/"+name, "spoilt")
	}
	b.must(t, "--force", "restore", backupFile(t, b, "database.sql.gz"), "--db-root-password", rootPassword,
		"--with-public-files", backupFile(t, b, "files.tar"), "--with-private-files", backupFile(t, b, "private-files.tar"))
	if got := b.customers(t, "territory"); got != "Denmark, United Kingdom, " {
		t.Errorf("territories are %s", got)
	}
	if out, code := b.run(t, "--site", site, "execute", "frappe.db.get_all", "--args", `["Customer", ["customer_group"]]`); code == 0 {
		t.Errorf("the column of the newer version is still there:\n%s", out)
	}
	if got := b.read(t, "sites/"+site+"/public/files/logo.svg") + b.read(t, "sites/"+site+"/private/files/contract.txt"); got != "<svg/>signed" {
		t.Errorf("files are %s", got)
	}
}

func slowPatch(t *testing.T, b *bench) {
	b.checkout(t, "erpnext", "v15.1.3")
	b.must(t, "clear-cache")
	b.must(t, "set-config", "-p", "slow_patch_seconds", "4")
	call := func() *process {
		return start(t, filepath.Join(b.dir, "sites"), os.Environ(), b.python, "-m", "frappe.utils.bench_helper", "frappe", "--site", site, "migrate")
	}
	slow := call()
	const patch = "Executing erpnext.patches.v15_1.recount_stock"
	eventually(t, "see the slow patch begin", func() bool { return strings.Contains(slow.out.String(), patch) })
	second := call()
	if !second.ended(20*time.Second) || second.cmd.ProcessState.ExitCode() != 1 ||
		!strings.Contains(second.out.String(), "LockTimeoutError") || strings.Contains(second.out.String(), "Executing") {
		t.Errorf("beside another: %v\n%s", second.cmd.ProcessState, &second.out)
	}
	if !slow.ended(20*time.Second) || slow.cmd.ProcessState.ExitCode() != 0 {
		t.Fatalf("the first: %v", slow.cmd.ProcessState)
	}
	if got := b.customers(t, "territory"); got != "DENMARK, UNITED KINGDOM, " {
		t.Errorf("territories are %s", got)
	}
}
