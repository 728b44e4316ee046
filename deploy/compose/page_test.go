package compose_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// TestPage has nginx serve what the set has visitors see while there is no site:
// a true answer, whatever is asked for and however.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs nginx")
	}
	debiantest.Install(t, "nginx-light")
	address := servePage(t)
	for _, tc := range []struct {
		method, path, accept string
		body                 int
		want                 string // the beginning of the type and the body
	}{
		{"GET", "/", "text/html,application/xhtml+xml,*/*;q=0.8", 0, "text/html; charset=utf-8|<!doctype html>"},
		{"GET", "/app/sales-order/new?x=1", "", 0, "text/html; charset=utf-8|<!doctype html>"},
		{"GET", "/page.html", "*/*", 0, "text/html; charset=utf-8|<!doctype html>"},
		{"GET", "/assets/x.css", "text/css", 0, "text/html; charset=utf-8|<!doctype html>"},
		{"GET", "/anything", "application/json, text/plain, */*", 0, `application/json|{"exc_type": "SessionStopped"`},
		{"GET", "/api/resource/ToDo", "*/*", 0, `application/json|{"exc_type": "SessionStopped"`},
		{"POST", "/api/resource/ToDo", "", 10, `application/json|{"exc_type": "SessionStopped"`},
		{"PUT", "/api/resource/ToDo/1", "", 5 << 20, `application/json|{"exc_type": "SessionStopped"`},
		{"DELETE", "/api/resource/ToDo/1", "", 0, `application/json|{"exc_type": "SessionStopped"`},
		{"POST", "/login", "text/html", 10, "text/html; charset=utf-8|<!doctype html>"},
		{"HEAD", "/", "", 0, "text/html; charset=utf-8|"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+address+tc.path, bytes.NewReader(make([]byte, tc.body)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", tc.accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Errorf("%s %s: %v", tc.method, tc.path, err)
			continue
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		header := response.Header
		if got := header.Get("Content-Type") + "|" + string(text); err != nil || response.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s %s (%s): %s, %v, %.80s", tc.method, tc.path, tc.accept, response.Status, err, got)
		}
		if header.Get("Retry-After") != "30" || header.Get("X-Maintenance-Page") != "yes" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: headers %v", tc.method, tc.path, header)
		}
	}
}

// servePage runs nginx with the configs of the set, at a port of its own and
// with the page in another place, and returns its address.
func servePage(t *testing.T) string {
	t.Helper()
	text, err := compose.Own.ReadFile("compose-main.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Configs map[string]struct {
			Content string
		}
	}
	if err := yaml.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	conf := strings.NewReplacer("$$", "$", "listen 8080;", "listen "+address+";", "/etc/nginx/page.html", filepath.Join(dir, "page.html"),
		"/tmp/nginx.pid", filepath.Join(dir, "pid"), "/dev/stderr", "stderr").Replace(set.Configs["page-conf"].Content)
	for name, content := range map[string]string{"page.conf": conf, "page.html": set.Configs["page"].Content} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, end := context.WithCancel(context.Background())
	nginx := exec.CommandContext(ctx, "nginx", "-c", filepath.Join(dir, "page.conf"), "-g", "daemon off; user root;")
	var said bytes.Buffer
	nginx.Stdout, nginx.Stderr = &said, &said
	nginx.Cancel = func() error { return nginx.Process.Signal(os.Interrupt) }
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		_ = nginx.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			_ = connection.Close()
			return address
		}
		if time.Now().After(deadline) {
			end()
			_ = nginx.Wait()
			t.Fatal(fmt.Errorf("nginx does not answer: %w\n%s", err, &said))
		}
	}
}
