package image

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestNginxSaysWhenToAskAgain: where a site is closed or its backend is away, and
// nowhere else, the frontend says when to ask again, and which release it is.
func TestNginxSaysWhenToAskAgain(t *testing.T) {
	debiantest.Install(t, "nginx-light")
	const breaks = -1
	code := http.StatusOK
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if code == breaks {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
	}))
	text, err := os.ReadFile("rootfs/templates/nginx/frappe.conf.template")
	if err != nil {
		t.Fatal(err)
	}
	snippets, err := filepath.Abs("rootfs/etc/nginx/snippets")
	if err != nil {
		t.Fatal(err)
	}
	free := func() string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		return listener.Addr().String()
	}
	address, dir := free(), t.TempDir()
	server := strings.NewReplacer("${BACKEND}", backend.Listener.Addr().String(), "${SOCKETIO}", "127.0.0.1:9", "${FRAPPE_SITE_NAME_HEADER}", "erp.example.com",
		"${UPSTREAM_REAL_IP_ADDRESS}", "127.0.0.1", "${UPSTREAM_REAL_IP_HEADER}", "X-Forwarded-For", "${UPSTREAM_REAL_IP_RECURSIVE}", "off",
		"${PROXY_READ_TIMEOUT}", "5", "${CLIENT_MAX_BODY_SIZE}", "1m", "${RELEASE}", "7", "/etc/nginx/snippets", snippets,
		"/home/frappe/frappe-bench/sites", dir, "listen 8080", "listen "+address, "listen 127.0.0.1:8081", "listen "+free()).Replace(string(text))
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte("user root;\npid "+dir+"/pid;\nerror_log stderr;\nevents { }\nhttp {\naccess_log off;\n"+server+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := exec.Command("nginx", "-c", conf, "-g", "daemon off;")
	var said bytes.Buffer
	nginx.Stdout, nginx.Stderr = &said, &said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = nginx.Process.Signal(os.Interrupt)
		_ = nginx.Wait()
	})
	var response *http.Response
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if response, err = http.Get("http://" + address + "/api/method/ping"); err == nil {
			_ = response.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not answer: %v\n%s", err, &said)
		}
	}
	for _, tc := range []struct {
		code, want               int
		path, accept, retryAfter string
		kind                     string // of the answer, where it is nginx's own
	}{
		{http.StatusOK, 200, "/api/method/ping", "", "", ""},
		{http.StatusNotFound, 404, "/api/method/ping", "", "", ""},
		{http.StatusBadGateway, 502, "/api/method/ping", "", "30", ""},
		{http.StatusServiceUnavailable, 503, "/api/method/ping", "", "30", ""},
		// The backend has the request, and ends: it may have done it.
		{breaks, 502, "/api/method/save", "application/json", "", ""},
		{breaks, 502, "/login", "text/html", "", ""},
		// Nothing answers nginx.
		{0, 503, "/api/method/ping", "", "30", "application/json"},
		{0, 503, "/login", "application/json", "30", "application/json"},
		{0, 503, "/login", "text/html,application/json;q=0.9", "30", "text/html; charset=utf-8"},
		{0, 503, "/", "", "30", "text/html; charset=utf-8"},
		{0, 502, "/socket.io/", "", "30", ""},
	} {
		if code = tc.code; code == 0 {
			backend.Close()
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", tc.accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != tc.want || response.Header.Get("Retry-After") != tc.retryAfter || response.Header.Get("X-Release") != "7" {
			t.Errorf("%d of %s: %v, %s, %v", tc.want, tc.path, err, response.Status, response.Header)
		}
		if own := response.Header.Get("X-Maintenance-Page") == "yes"; own != (tc.kind != "") || own && (response.Header.Get("Content-Type") != tc.kind || !strings.Contains(string(body), "back in a moment")) {
			t.Errorf("%s, wanted as %q, is answered with %v, %s", tc.path, tc.accept, response.Header, body)
		}
	}
}
