//go:build unix

package host

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// One key of each type is shown, and no other host is known by its line.
func TestShowKeys(t *testing.T) {
	ed25519, ecdsa := newEd25519(t), newECDSA(t)
	s := inProcess(t, ed25519, ecdsa)
	shown, err := ShowKeys(t.Context(), Config{Address: s.address})
	if err != nil {
		t.Fatal(err)
	}
	if len(shown) != 2 || shown[0].Fingerprint != ed25519.fingerprint() || shown[1].Fingerprint != ecdsa.fingerprint() ||
		shown[0].Type != ssh.KeyAlgoED25519 || shown[1].Type != ssh.KeyAlgoECDSA256 {
		t.Fatalf("shown are %v", shown)
	}
	// The line is what lets the host be connected to.
	c := s.config()
	c.KnownHosts = []KnownHosts{{Text: shown[1].Line}}
	dial(t, c)
	c.KnownHosts = []KnownHosts{{Text: strings.Replace(shown[0].Line, "127.0.0.1", "127.0.0.2", 1)}}
	var unknown *UnknownHostKeyError
	if _, err := Dial(t.Context(), c); !errors.As(err, &unknown) {
		t.Errorf("with another host's line: %v", err)
	}
}

func TestShowKeysOfNoHost(t *testing.T) {
	silent := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)); time.Sleep(time.Second) })
	talker := listen(t, func(conn net.Conn) { _, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	for name, test := range map[string]struct{ address, code string }{
		"nothing listens":    {"127.0.0.1:1", "host.refused"},
		"says nothing":       {silent, "host.silent"},
		"another server":     {talker, "host.not-ssh"},
		"an address of none": {"", "host.address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ShowKeys(t.Context(), Config{Address: test.address, HandshakeTimeout: 300 * time.Millisecond})
			var p problem.Problem
			if !errors.As(err, &p) || p.Code != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ShowKeys(ctx, Config{Address: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}
