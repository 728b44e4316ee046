package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// siteAddress is where the site answers for others in the host's network: not
// on the loopback, where Docker itself takes every connection.
func (u *user) siteAddress() string {
	u.t.Helper()
	if u.link.siteAddress == "" {
		addresses := strings.Fields(u.onHost("hostname", "--all-ip-addresses"))
		if len(addresses) == 0 {
			u.t.Fatal("the host has no address")
		}
		u.link.siteAddress = net.JoinHostPort(addresses[0], u.env("HTTP_PORT"))
	}
	return u.link.siteAddress
}

// get asks the running site, as a visitor would.
func (u *user) get(path string) (int, string) {
	u.t.Helper()
	return u.ask(http.MethodGet, path, "")
}

// ping returns why the site gives no sign of life.
func (u *user) ping() error {
	code, body, err := u.try(http.MethodGet, "/api/method/ping", "")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d %s", code, body)
	}
	return err
}

// ask makes a request to the running site through the host's SSH server: the
// sandbox's own tunnel to the site does not come back from every outage.
func (u *user) ask(method, path, body string) (int, string) {
	u.t.Helper()
	code, text, err := u.try(method, path, body)
	if err != nil {
		u.t.Fatal(err)
	}
	return code, text
}

// try is ask where there may be no answer.
func (u *user) try(method, path, body string) (int, string, error) {
	u.t.Helper()
	request, err := http.NewRequestWithContext(u.t.Context(), method, "http://"+u.siteAddress()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Host = sandbox.Site
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DialContext: u.connect().DialHost, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// webSocket opens the connection over which a page gets live updates.
func (u *user) webSocket() net.Conn {
	u.t.Helper()
	connection, err := net.Dial("tcp", u.world.Host.SiteAddress())
	if err != nil {
		u.t.Fatal(err)
	}
	_, err = fmt.Fprintf(connection, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", sandbox.Site)
	if err != nil {
		u.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		u.t.Fatalf("open a WebSocket: %v, %v", response, err)
	}
	_ = response.Body.Close() // It has none: what follows is the WebSocket.
	return connection
}

// hasVersion holds that the site says that it has an app in a version.
func (u *user) hasVersion(app, version string) {
	u.t.Helper()
	if _, body := u.get("/api/method/version"); !strings.Contains(body, `"`+app+`": "`+version+`"`) {
		u.t.Errorf("versions: %s", body)
	}
}

// note writes a document.
func (u *user) note(title string) {
	u.t.Helper()
	if code, body := u.ask(http.MethodPost, "/api/resource/Note", `{"title": "`+title+`"}`); code != http.StatusOK {
		u.t.Fatalf("a note was answered with %d: %s", code, body)
	}
}

// data is everything in the databases of the sites, but for what the scheduler
// notes every minute.
func (u *user) data() string {
	u.t.Helper()
	var all strings.Builder
	for _, site := range []string{sandbox.Site, secondSite, closedSite} {
		all.WriteString(u.withDatabase(site, `mariadb-dump --host=db --user="$name" --skip-dump-date --skip-extended-insert --ignore-table="$name.tabScheduled Job Log" "$name"`))
	}
	return all.String()
}

// query asks the site's database.
func (u *user) query(sql string) string {
	u.t.Helper()
	return u.queryOn(sandbox.Site, sql)
}

// queryOn asks the database of a site.
func (u *user) queryOn(site, sql string) string {
	u.t.Helper()
	return u.withDatabase(site, `mariadb --host=db --user="$name" --batch "$name" --execute "$1"`, sql)
}

// database is the name of the database of a site.
func (u *user) database(site string) string {
	u.t.Helper()
	return strings.TrimSpace(u.withDatabase(site, `echo "$name"`))
}

// asRoot is the client of the database server's administrator, in its container.
const asRoot = `MYSQL_PWD=$(cat /run/secrets/db_root_password) mariadb --user=root`

// withDatabase runs a script that knows the database of a site by $name.
func (u *user) withDatabase(site, script string, arguments ...string) string {
	u.t.Helper()
	return u.onHost(append([]string{"docker", "exec", u.container("backend"), "sh", "-euc", `
		config=sites/$0/site_config.json
		name=$(jq --raw-output .db_name "$config")
		MYSQL_PWD=$(jq --raw-output .db_password "$config")
		export MYSQL_PWD
		` + script, site}, arguments...)...)
}

// eventually waits until there is no error, for up to three minutes: the machine
// may be busy.
func (u *user) eventually(what string, try func() error) {
	u.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("%s: %v", what, err)
		}
	}
}
