package e2e

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (u *user) pushWithPassword(t *testing.T) {
	const password, wrong = "open-sesame-2026", "not-the-password"
	address := u.guardedRegistry("robot", password)
	flags := u.command("push", "1.0.1", apps.Version1(), "--skip-smoke-test")
	code, _, errs := u.withRegistry(address, "robot", wrong).run(flags...)
	if code != cli.ExitUsage || !strings.Contains(errs, "refuses the credentials") || strings.Contains(errs, wrong) {
		t.Errorf("exit %d\n%s", code, errs)
	}
	u = u.withRegistry(address, "robot", password)
	code, out, errs := u.run(flags...)
	if code != 0 || !strings.HasPrefix(out, address+"/desiredeffect/erpnext-custom:1.0.1@sha256:") || strings.Contains(errs, password) {
		t.Errorf("exit %d, printed %q\n%s", code, out, errs)
	}
	// The same image again is no problem, another one under its name is. docker login
	// does as well.
	folder := u.write("config.json", fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, address, base64.StdEncoding.EncodeToString([]byte("robot:"+password))))
	if again := u.with("REGISTRY_USERNAME=", "REGISTRY_PASSWORD=", "DOCKER_CONFIG="+filepath.Dir(folder)).must(flags...); again != out {
		t.Errorf("pushed again: %q, want %q", again, out)
	}
	u.fails(u.command("push", "1.0.1", apps.Version1().With("erpnext", "v15.1.1"), "--skip-smoke-test"), cli.ExitUsage, "is released already")
}

// withRegistry is the same user with a registry that asks for a password.
func (u *user) withRegistry(address, username, password string) *user {
	return u.with("REGISTRY="+address, "REGISTRY_USERNAME="+username, "REGISTRY_PASSWORD="+password)
}

// guardedRegistry starts an empty registry behind a login and returns its
// address.
func (u *user) guardedRegistry(username, password string) string {
	u.t.Helper()
	return u.serveRegistry("127.0.0.1", username, password, func(*http.Request) bool { return false })
}

// hostsRegistry is one that the host reaches as well, under the same address.
// It refuses some requests with the right password.
func (u *user) hostsRegistry(username, password string, refuses func(*http.Request) bool) string {
	u.t.Helper()
	host, _, _ := strings.Cut(u.onHost("hostname", "-I"), " ")
	// Nothing is sent: the machine only says by which of its addresses it would.
	way, err := net.Dial("udp", net.JoinHostPort(host, "22"))
	if err != nil {
		u.t.Fatal(err)
	}
	defer way.Close()
	return u.serveRegistry(way.LocalAddr().(*net.UDPAddr).IP.String(), username, password, refuses)
}

func (u *user) serveRegistry(address, username, password string, refuses func(*http.Request) bool) string {
	u.t.Helper()
	open, err := registry.Serve(u.t.Context(), filepath.Join(u.world.Dir, "guarded"))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = open.Close() })
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: open.Address()})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, word, _ := r.BasicAuth(); name != username || word != password || refuses(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		behind.ServeHTTP(w, r)
	}))
	_ = server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", net.JoinHostPort(address, "0")); err != nil {
		u.t.Fatal(err)
	}
	server.Start()
	u.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func (s liveSite) passwordExpires(t *testing.T) {
	const password = "open-sesame-2027"
	var expired atomic.Bool
	address := s.hostsRegistry("robot", password, func(r *http.Request) bool {
		return expired.Load() && strings.HasPrefix(r.UserAgent(), "docker/")
	})
	u := s.withRegistry(address, "robot", password)
	u.must(u.command("push", "3.3.0", apps.Version1().With("erpnext", "v15.1.1").With("frappe", "v15.1.1"), "--skip-smoke-test")...)
	expired.Store(true)
	u.fails(deploy("3.3.0"), cli.ExitFailed, "the registry refuses robot, whose password may have expired", "nothing was changed")
	expired.Store(false)
	u.must(deploy("3.3.0")...)
	u.hasVersion("frappe", "15.1.1")
	if found := u.onHostWith(password, "sh", "-c", "grep -rlF -f - /home/deploy /var/log /tmp 2>/dev/null | head -n 3; true"); found != "" {
		t.Errorf("the registry's password is on the host in %s", found)
	}
}
