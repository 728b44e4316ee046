//go:build unix

package deploy

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// visitor runs a script that asks the proxy, as the steps have it run.
func visitor(t *testing.T, script, address string, arguments ...string) (string, error) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	out, err := exec.CommandContext(t.Context(), "bash", append([]string{"-euo", "pipefail", "-c", stepFile("visit.sh") + stepFile(script), "as_visitor", host, port}, arguments...)...).CombinedOutput()
	return string(out), err
}

// TestVisit asks real servers: a closed site, the page in its place, a proxy that
// leads to https, and others.
func TestVisit(t *testing.T) {
	short(t)
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	var asked atomic.Int32
	page := func(w http.ResponseWriter) {
		w.Header().Set("X-Maintenance-Page", "yes")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, _ := net.SplitHostPort(r.Host); host != "tls.example.com" {
			w.WriteHeader(http.StatusTeapot)
		}
		w.Header().Set("X-Release", "7")
	}))
	defer secure.Close()
	_, securePort, _ := net.SplitHostPort(secure.Listener.Addr().String())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", "7")
		switch r.Host {
		case "open.example.com":
		case "closed.example.com":
			// The page is there until the frontend is.
			if asked.Add(1) <= 3 {
				w.Header().Del("X-Release")
				page(w)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		case "page.example.com":
			w.Header().Del("X-Release")
			page(w)
		case "tls.example.com":
			w.Header().Del("X-Release")
			http.Redirect(w, r, "https://"+r.Host+":"+securePort+r.URL.Path, http.StatusPermanentRedirect)
		case "elsewhere.example.com":
			http.Redirect(w, r, "https://"+r.Host+":1"+r.URL.Path, http.StatusMovedPermanently)
		case "told.example.com":
			if r.Header.Get("X-Forwarded-Proto") != "https" {
				http.Redirect(w, r, "https://"+r.Host+":1"+r.URL.Path, http.StatusMovedPermanently)
			}
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()

	if out, err := visitor(t, "ask.sh", address, "503", "", "closed.example.com"); err != nil || out != "closed.example.com answers with 503\n" || asked.Load() != 4 {
		t.Errorf("a closed site behind the page: %v, asked %d times: %s", err, asked.Load(), out)
	}
	if out, err := visitor(t, "ask.sh", address, "200", "", "open.example.com", "tls.example.com", "told.example.com"); err != nil {
		t.Errorf("open sites: %v\n%s", err, out)
	}
	if out, err := visitor(t, "await-route.sh", address, "tls.example.com", "to", "7"); err != nil {
		t.Errorf("the release behind https: %v\n%s", err, out)
	}
	if out, err := visitor(t, "await-route.sh", address, "page.example.com", "away", "7"); err != nil {
		t.Errorf("the page is no frontend: %v\n%s", err, out)
	}
	out, err := visitor(t, "look.sh", address, "open.example.com", "page.example.com", "tls.example.com", "elsewhere.example.com", "other.example.com")
	want := fmt.Sprintf(`open.example.com 200 http://%[1]s/api/method/ping
page.example.com page http://%[1]s/api/method/ping
tls.example.com 200 https://tls.example.com:%[2]s/api/method/ping
elsewhere.example.com 000 https://elsewhere.example.com:1/api/method/ping
other.example.com 404 http://%[1]s/api/method/ping
`, address, securePort)
	if err != nil || out != want {
		t.Errorf("%v\n got %s\nwant %s", err, out, want)
	}
	server.Close()
	if out, err := visitor(t, "look.sh", address, "open.example.com"); err != nil || !strings.HasPrefix(out, "open.example.com 000 http://"+address) {
		t.Errorf("nothing answers: %v\n%s", err, out)
	}
}
