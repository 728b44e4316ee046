package image

import (
	"bytes"
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
	code := http.StatusOK
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
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
		code, want int
		retryAfter string
	}{{http.StatusOK, 200, ""}, {http.StatusNotFound, 404, ""}, {http.StatusServiceUnavailable, 503, "30"}, {0, 502, "30"}} {
		if code = tc.code; code == 0 {
			backend.Close()
		}
		response, err := http.Get("http://" + address + "/api/method/ping")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != tc.want || response.Header.Get("Retry-After") != tc.retryAfter || response.Header.Get("X-Release") != "7" {
			t.Errorf("%d: %s, %v", tc.want, response.Status, response.Header)
		}
	}
}
