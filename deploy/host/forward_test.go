//go:build unix

package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fetch gets a path over HTTP on the host, with nothing but bash.
func fetch(t *testing.T, h *Host, port int, path string) (string, error) {
	t.Helper()
	got, err := h.Run(t.Context(), []string{"bash", "-c",
		`exec 3<>"/dev/tcp/127.0.0.1/$1" || exit; printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3; cat <&3`, "bash", strconv.Itoa(port), path}, Options{})
	return got.Stdout, err
}

func TestForward(t *testing.T) {
	s := realSSHD(t)
	big := strings.Repeat("layer", 1<<20)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/big":
			_, _ = io.WriteString(w, big)
		default:
			_, _ = fmt.Fprintf(w, "you asked for %s", r.URL.Path)
		}
	}))
	defer web.Close()
	serve := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", web.Listener.Addr().String())
	}
	for _, test := range []struct{ name, address string }{
		{"any port", "127.0.0.1:0"},
		{"a port of choice", freeAddress(t)},
		{"by name", "localhost:" + strings.TrimPrefix(freeAddress(t), "127.0.0.1:")},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := s.dial(t)
			f, err := h.Forward(t.Context(), test.address, serve)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got, err := fetch(t, h, f.Port(), "/v2/"); err != nil || !strings.HasSuffix(got, "you asked for /v2/") {
					t.Errorf("got %q, %v", got, err)
				}
			}
			if got, err := fetch(t, h, f.Port(), "/big"); err != nil || !strings.HasSuffix(got, "\r\n\r\n"+big) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(big))
			}
			slow := make(chan struct{})
			go func() { _, _ = fetch(t, h, f.Port(), "/slow"); close(slow) }()
			time.Sleep(300 * time.Millisecond)
			within(t, 3*time.Second, "close", func() { _ = f.Close() })
			select {
			case <-slow:
			case <-time.After(5 * time.Second):
				t.Error("a connection under way goes on after Close")
			}
			if got, err := fetch(t, h, f.Port(), "/v2/"); err == nil {
				t.Errorf("after Close there is still an answer: %q", got)
			}
			again, err := h.Forward(t.Context(), fmt.Sprintf("127.0.0.1:%d", f.Port()), serve)
			if err != nil {
				t.Fatalf("the port is not free again: %v", err)
			}
			_ = again.Close()
		})
	}
	t.Run("ends with the connection", func(t *testing.T) {
		h := s.dial(t)
		f, err := h.Forward(t.Context(), "127.0.0.1:0", serve)
		if err != nil {
			t.Fatal(err)
		}
		_ = h.Close()
		select {
		case <-f.done:
		case <-time.After(5 * time.Second):
			t.Error("the forward goes on")
		}
	})
	t.Run("ends with the context", func(t *testing.T) {
		h := s.dial(t)
		f, err := h.Forward(cancelAfter(t, time.Second), "127.0.0.1:0", serve)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-f.done:
		case <-time.After(5 * time.Second):
			t.Error("the forward goes on")
		}
	})
	t.Run("nothing here to forward to", func(t *testing.T) {
		h := s.dial(t)
		f, err := h.Forward(t.Context(), "127.0.0.1:0", func(context.Context) (net.Conn, error) { return nil, net.ErrClosed })
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := fetch(t, h, f.Port(), "/"); err == nil && got != "" {
			t.Errorf("got %q", got)
		}
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestForwardRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	never := func(context.Context) (net.Conn, error) { return nil, net.ErrClosed }
	for _, test := range []struct {
		name          string
		configuration string
		address       string
		code, remedy  string
	}{
		{"forwarding not allowed", "AllowTcpForwarding no", freeAddress(t), "host.forward-refused", "AllowTcpForwarding"},
		{"port not allowed", "PermitListen 127.0.0.1:1", freeAddress(t), "host.forward-refused", "PermitListen"},
		{"port taken", "AllowTcpForwarding yes", taken.Addr().String(), "host.forward-busy", "ss -ltnp"},
		{"open to the network", "GatewayPorts yes", freeAddress(t), "host.forward-exposed", "GatewayPorts no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := realSSHD(t, test.configuration).dial(t)
			f, err := h.Forward(t.Context(), test.address, never)
			if err == nil {
				_ = f.Close()
				t.Fatal("there is no error")
			}
			report := Problems(err)
			if len(report) != 1 || report[0].Code != test.code || !strings.Contains(report[0].Remedy, test.remedy) {
				t.Errorf("got %+v, want %s", report, test.code)
			}
			if test.code == "host.forward-exposed" {
				if conn, err := net.Dial("tcp", test.address); err == nil {
					_ = conn.Close()
					t.Error("it still listens")
				}
			}
		})
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"0100007F":                         true,
		"0101017F":                         true,
		"00000000":                         false,
		"7F00000A":                         false,
		"00000000000000000000000001000000": true,
		"00000000000000000000000000000000": false,
		"0000000000000000FFFF00000100007F": true,
		"0000000000000000FFFF000000000000": false,
		"000000000000000000000000AAAAAA7F": false,
	} {
		if loopback(address) != want {
			t.Errorf("loopback(%s) is %v", address, !want)
		}
	}
}

func TestDialHost(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pong") }))
	defer web.Close()
	address := web.Listener.Addr().String()
	s := realSSHD(t)
	h := s.dial(t)
	client := http.Client{Transport: &http.Transport{DialContext: h.DialHost, DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + "/api/method/ping")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if string(body) != "pong" {
		t.Errorf("got %q", body)
	}
	if _, err := h.DialHost(t.Context(), "tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a closed port: %v", err)
	}
	closed := realSSHD(t, "AllowTcpForwarding no").dial(t)
	if _, err := closed.DialHost(t.Context(), "tcp", address); err == nil || !strings.Contains(err.Error(), "AllowTcpForwarding") {
		t.Errorf("forwarding not allowed: %v", err)
	}
}
