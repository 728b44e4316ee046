//go:build unix

package host

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

func encrypted(t testing.TB, k keyPair, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(k.raw, "test", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func write(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serveAgent serves an SSH agent with these keys on a socket.
func serveAgent(t testing.TB, keys ...keyPair) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k.raw}); err != nil {
			t.Fatal(err)
		}
	}
	// The path of a socket is short (unix(7)), that of a test's folder is not.
	dir, err := os.MkdirTemp("", "agent-")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); _ = agent.ServeAgent(ring, conn) }()
		}
	}()
	return socket
}

// TestLogin covers the keys a login can use, against both servers.
func TestLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		for _, test := range []struct {
			name   string
			change func(t *testing.T, c *Config)
		}{
			{"key as text", func(*testing.T, *Config) {}},
			{"key as text with carriage returns and no last line end", func(_ *testing.T, c *Config) {
				text := strings.TrimSpace(strings.ReplaceAll(s.userKey.pem.Reveal(), "\n", "\r\n"))
				c.Keys[0].PEM = secret.New(text)
			}},
			{"key in a file", func(t *testing.T, c *Config) {
				c.Keys = []Key{{Path: write(t, s.userKey.pem.Reveal())}}
			}},
			{"encrypted key with its passphrase", func(t *testing.T, c *Config) {
				c.Keys = []Key{{Path: write(t, encrypted(t, s.userKey, "open sesame")), Passphrase: secret.New("open sesame")}}
			}},
			{"agent", func(t *testing.T, c *Config) {
				c.Keys, c.AgentSocket = nil, serveAgent(t, newECDSA(t), s.userKey)
			}},
			{"encrypted key that the agent has unlocked", func(t *testing.T, c *Config) {
				c.Keys = []Key{{Path: write(t, encrypted(t, s.userKey, "open sesame"))}}
				c.AgentSocket = serveAgent(t, s.userKey)
			}},
			{"agent is gone, but there is a key", func(t *testing.T, c *Config) {
				c.AgentSocket = filepath.Join(t.TempDir(), "none")
			}},
			{"second key fits", func(t *testing.T, c *Config) {
				c.Keys = append([]Key{{PEM: newECDSA(t).pem}}, c.Keys...)
			}},
			{"known hosts in a file, hashed, after other hosts", func(t *testing.T, c *Config) {
				key := string(ssh.MarshalAuthorizedKey(s.hostKey.signer.PublicKey()))
				c.KnownHosts = []KnownHosts{{Path: write(t, "# ours\nother.example "+key+knownhosts.HashHostname(knownhosts.Normalize(s.address))+" "+key)}}
			}},
			{"known hosts have a key of an unknown type", func(_ *testing.T, c *Config) {
				c.KnownHosts[0].Text = "old.example ssh-nothing AAAA\n" + c.KnownHosts[0].Text
			}},
		} {
			t.Run(test.name, func(t *testing.T) {
				c := s.config()
				test.change(t, &c)
				h := dial(t, c)
				if got, err := h.Run(t.Context(), []string{"echo", "in"}, Options{}); err != nil || got.Stdout != "in\n" {
					t.Errorf("after login: %q, %v", got.Stdout, err)
				}
			})
		}
	})
}

// TestConfigProblems: everything that is wrong is said at once.
func TestConfigProblems(t *testing.T) {
	key := newEd25519(t)
	locked := write(t, encrypted(t, key, "open sesame"))
	public := write(t, string(ssh.MarshalAuthorizedKey(key.signer.PublicKey())))
	known := write(t, "good.example "+string(ssh.MarshalAuthorizedKey(key.signer.PublicKey()))+"\n\nbad.example ssh-ed25519 !!!\n@revoked x\n")
	_, err := Dial(t.Context(), Config{
		Address: "host.example:port",
		Keys: []Key{
			{Path: locked}, {Path: locked, Passphrase: secret.New("wrong")}, {Path: "/nonexistent/key"}, {Path: public},
			{Name: "DEPLOY_KEY", PEM: secret.New("hush hush")},
		},
		KnownHosts: []KnownHosts{{Path: known}, {Path: "/nonexistent/known_hosts"}},
		Jump:       &Config{Address: "jump.example", User: "hop", AgentSocket: "/nonexistent/agent"},
	})
	var got []string
	for _, p := range Problems(err) {
		got = append(got, p.Code+" | "+p.Subject+" | "+p.Detail)
		if p.Remedy == "" {
			t.Errorf("%s has no remedy", p.Code)
		}
		if strings.Contains(p.Detail+p.Remedy, "hush") {
			t.Errorf("%s shows the key", p.Code)
		}
	}
	want := []string{
		"host.address | host.example:port | is not an address of a host",
		"host.user | host host.example:port | no user is set",
		"host.known-hosts | jump.example:22 | no known hosts are set, so the host can't be recognised",
		"host.key-missing | jump.example:22 | there is no key to log in with: ask SSH agent: dial unix /nonexistent/agent: connect: no such file or directory",
		"host.known-hosts | " + known + ":4 | is no line of a known_hosts file: ",
		"host.known-hosts | " + known + ":5 | is no line of a known_hosts file: it needs a host, a key type and a key",
		"host.known-hosts | /nonexistent/known_hosts | can't be read: open /nonexistent/known_hosts: no such file or directory",
		"host.key-encrypted | " + locked + " | the private key is encrypted and no passphrase is set",
		"host.key-passphrase | " + locked + " | the passphrase does not open the private key",
		"host.key-unreadable | /nonexistent/key | the private key can't be read: open /nonexistent/key: no such file or directory",
		"host.key-unreadable | " + public + " | this is no private key: ssh: no key found",
		"host.key-unreadable | DEPLOY_KEY | this is no private key: ssh: no key found",
	}
	if len(got) != len(want) {
		t.Fatalf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d is %s\nwant %s", i, got[i], want[i])
		}
	}
}

// TestHostKey: whose key is not the known one is refused, and sees no login.
func TestHostKey(t *testing.T) {
	ed, ec, foreign, authority := newEd25519(t), newECDSA(t), newEd25519(t), newEd25519(t)
	raw, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := newKeyPair(t, raw)
	line := func(address string, k keyPair) string {
		return knownhosts.Line([]string{address}, k.signer.PublicKey())
	}
	for _, test := range []struct {
		name  string
		shows []keyPair
		known func(address string) string
		code  string // empty: accepted
		text  []string
	}{
		{name: "known", shows: []keyPair{ed}, known: func(a string) string { return line(a, ed) }},
		{name: "of the known type among several", shows: []keyPair{ed, ec}, known: func(a string) string { return line(a, ec) }},
		{name: "of the other known type among several", shows: []keyPair{ed, ec}, known: func(a string) string { return line(a, ed) }},
		{name: "RSA, which signs under other names", shows: []keyPair{ed, rsaKey}, known: func(a string) string { return line(a, rsaKey) }},
		{name: "unknown", shows: []keyPair{ed}, known: func(string) string { return line("other.example:22", ed) },
			code: "host.key-unknown", text: []string{ed.fingerprint(), "KNOWN", "ssh-keyscan -p "}},
		{name: "known for the standard port only", shows: []keyPair{ed}, known: func(string) string { return line("127.0.0.1:22", ed) },
			code: "host.key-unknown", text: []string{ed.fingerprint()}},
		{name: "changed", shows: []keyPair{ed}, known: func(a string) string { return "# first\n" + line(a, foreign) },
			code: "host.key-mismatch", text: []string{"shows ssh-ed25519 " + ed.fingerprint(), "known is ssh-ed25519 " + foreign.fingerprint(), "KNOWN:2"}},
		{name: "of another type than known", shows: []keyPair{ec}, known: func(a string) string { return line(a, ed) },
			code: "host.key-mismatch", text: []string{"shows ecdsa-sha2-nistp256 " + ec.fingerprint(), "known is ssh-ed25519 " + ed.fingerprint(), "KNOWN:1"}},
		{name: "revoked", shows: []keyPair{ed}, known: func(a string) string { return line(a, ed) + "\n@revoked * " + strings.TrimPrefix(line("x", ed), "x ") },
			code: "host.key-revoked", text: []string{ed.fingerprint(), "@revoked", "KNOWN:2"}},
		{name: "certified by a known authority", shows: []keyPair{certified(t, ed, authority, "127.0.0.1")},
			known: func(a string) string { return "@cert-authority " + line(a, authority) }},
		{name: "certified for another name", shows: []keyPair{certified(t, ed, authority, "other.example")},
			known: func(a string) string { return "@cert-authority " + line(a, authority) },
			code:  "host.key-mismatch", text: []string{"@cert-authority", authority.fingerprint()}},
		{name: "certified by a foreign authority", shows: []keyPair{certified(t, ed, foreign, "127.0.0.1")},
			known: func(a string) string { return "@cert-authority " + line(a, authority) },
			code:  "host.key-mismatch", text: []string{authority.fingerprint(), "no authorities"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inProcess(t, test.shows...)
			c := s.config()
			c.KnownHosts = []KnownHosts{{Name: "KNOWN", Text: test.known(s.address)}}
			h, err := Dial(t.Context(), c)
			if test.code == "" {
				if err != nil {
					t.Fatalf("Dial: %v", err)
				}
				_ = h.Close()
				return
			}
			if err == nil {
				_ = h.Close()
				t.Fatal("the host was accepted")
			}
			if s.logins.Load() > 0 {
				t.Error("a login was tried")
			}
			report := Problems(err)
			if len(report) != 1 || report[0].Code != test.code {
				t.Fatalf("got %v, want %s", report, test.code)
			}
			text := report[0].Detail + "\n" + report[0].Remedy
			for _, part := range test.text {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in:\n%s", part, text)
				}
			}
			var unknown *UnknownHostKeyError
			var mismatch *KeyMismatchError
			if !errors.As(err, &unknown) && !errors.As(err, &mismatch) {
				t.Errorf("%T is no host key error", err)
			}
		})
	}
}

// certified returns a host key with a certificate for a name.
func certified(t testing.TB, host, authority keyPair, name string) keyPair {
	t.Helper()
	certificate := &ssh.Certificate{Key: host.signer.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{name}, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, authority.signer); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(certificate, host.signer)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{raw: host.raw, signer: signer, pem: host.pem}
}

// TestUnreachable tells the ways apart in which there is no connection.
func TestUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr().String()
	_ = closed.Close()
	good := inProcess(t)
	stalled := newNetwork(t, good.address)
	for _, test := range []struct {
		name    string
		address string
		code    string
		detail  string
	}{
		{"no such name", "erp.invalid:22", "host.name-unknown", "the name erp.invalid can't be resolved"},
		{"nothing listens", refused, "host.refused", "nothing listens on this port"},
		{"port is silent", listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "host.silent", "said nothing within 300ms"},
		{"closed at once", listen(t, func(net.Conn) {}), "host.handshake-closed", "closed during the SSH handshake"},
		{"web server", listen(t, func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), "host.not-ssh", `"HTTP/1.1 400 Bad Request`},
		{"says its version and no more", listen(t, func(c net.Conn) {
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
			_, _ = io.Copy(io.Discard, c)
		}), "host.handshake-stalled", "stopped halfway"},
		{"closes after its version", listen(t, func(c net.Conn) {
			fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
		}), "host.handshake-closed", "closed during the SSH handshake"},
		{"another key is wanted", stalled.address, "host.auth-refused", "tried: ssh-ed25519 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			key := newEd25519(t)
			c := good.through(&network{address: test.address})
			c.Keys = []Key{{Name: "DEPLOY_KEY", PEM: key.pem}}
			c.HandshakeTimeout, c.RetryTimeout = 300*time.Millisecond, time.Millisecond
			if test.code == "host.auth-refused" || test.code == "host.name-unknown" {
				c.HandshakeTimeout = 5 * time.Second
			}
			var err error
			within(t, 6*time.Second, "refusal", func() { _, err = Dial(t.Context(), c) })
			report := Problems(err)
			if len(report) != 1 || report[0].Code != test.code || !strings.Contains(report[0].Detail, test.detail) || report[0].Remedy == "" {
				t.Fatalf("got %+v\nwant %s with %q", report, test.code, test.detail)
			}
			if test.code == "host.auth-refused" && !strings.Contains(report[0].Detail, key.fingerprint()+" (DEPLOY_KEY)") {
				t.Errorf("the key is not named: %s", report[0].Detail)
			}
		})
	}
}

// TestTurnedAway: sshd turns away whom it has no room for, and has some again
// later.
func TestTurnedAway(t *testing.T) {
	s := realSSHD(t, "MaxStartups 1:100:1")
	first, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// Who was greeted has the only place.
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	impatient := s.config()
	impatient.RetryTimeout = time.Millisecond
	_, err = Dial(t.Context(), impatient)
	report := Problems(err)
	if len(report) != 1 || report[0].Code != codeClosed || !strings.Contains(report[0].Remedy, "MaxStartups") {
		t.Fatalf("got %+v", report)
	}
	t.Log(report[0])

	time.AfterFunc(firstPause+firstPause/2, func() { _ = first.Close() })
	h, err := Dial(t.Context(), s.config())
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Close()
}

// TestTooManyKeys: sshd hangs up after MaxAuthTries keys.
func TestTooManyKeys(t *testing.T) {
	s := realSSHD(t, "MaxAuthTries 2")
	c := s.config()
	c.Keys = nil
	for range 4 {
		c.Keys = append(c.Keys, Key{PEM: newEd25519(t).pem})
	}
	_, err := Dial(t.Context(), c)
	report := Problems(err)
	if len(report) != 1 || report[0].Code != "host.auth-refused" || !strings.Contains(report[0].Detail, "too many attempts") {
		t.Fatalf("got %+v", report)
	}
}

// TestDialCancelled: every stage of connecting ends with the context.
func TestDialCancelled(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(net.Conn)
	}{
		{"silent port", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		{"half a handshake", func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := inProcess(t).through(&network{address: listen(t, test.serve)})
			var err error
			within(t, 3*time.Second, "cancel", func() { _, err = Dial(cancelAfter(t, 100*time.Millisecond), c) })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
			if errors.As(err, &problem.Problem{}) {
				t.Errorf("a cancel is no problem of the host: %v", err)
			}
		})
	}
}

func TestJumpHost(t *testing.T) {
	jump, target := realSSHD(t), realSSHD(t)
	t.Run("goes through", func(t *testing.T) {
		c, j := target.config(), jump.config()
		c.Jump = &j
		h := dial(t, c)
		got, err := h.Run(t.Context(), []string{"sh", "-c", "echo $SSH_CONNECTION"}, Options{})
		_, port, _ := net.SplitHostPort(target.address)
		if err != nil || !strings.HasSuffix(got.Stdout, " "+port+"\n") {
			t.Errorf("got %q, %v; want a session on port %s", got.Stdout, err, port)
		}
		jump.killSessions(t)
		select {
		case <-h.done:
		case <-time.After(10 * time.Second):
			t.Error("the end of the jump host's connection is not noticed")
		}
	})
	t.Run("its key is enforced too", func(t *testing.T) {
		c, j := target.config(), jump.config()
		j.KnownHosts[0].Text = knownhosts.Line([]string{jump.address}, target.hostKey.signer.PublicKey())
		c.Jump = &j
		_, err := Dial(t.Context(), c)
		report := Problems(err)
		if len(report) != 1 || report[0].Code != "host.key-mismatch" || report[0].Subject != jump.address {
			t.Errorf("got %+v, want a mismatch of %s", report, jump.address)
		}
	})
	t.Run("target is not there", func(t *testing.T) {
		c, j := target.config(), jump.config()
		c.Address, c.Jump = "127.0.0.1:1", &j
		_, err := Dial(t.Context(), c)
		report := Problems(err)
		if len(report) != 1 || report[0].Code != "host.jump" || !strings.Contains(report[0].Detail, "can't be reached from the jump host "+jump.address) {
			t.Errorf("got %+v", report)
		}
	})
	t.Run("target says nothing", func(t *testing.T) {
		c, j := target.config(), jump.config()
		c.Address, c.Jump, c.HandshakeTimeout = listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), &j, 500*time.Millisecond
		var err error
		within(t, 5*time.Second, "refusal", func() { _, err = Dial(t.Context(), c) })
		if report := Problems(err); len(report) != 1 || report[0].Code != "host.silent" {
			t.Errorf("got %+v", report)
		}
	})
	t.Run("forwards nothing", func(t *testing.T) {
		c, j := target.config(), realSSHD(t, "AllowTcpForwarding no").config()
		c.Jump = &j
		_, err := Dial(t.Context(), c)
		report := Problems(err)
		if len(report) != 1 || report[0].Code != "host.jump" || !strings.Contains(report[0].Remedy, "AllowTcpForwarding") {
			t.Errorf("got %+v", report)
		}
	})
}

// TestLostConnection: it is noticed, also when the connection is only silent.
func TestLostConnection(t *testing.T) {
	s := inProcess(t)
	for _, test := range []struct {
		name string
		cut  func(*network)
		want string
	}{
		{"black hole", (*network).blackHole, "said nothing for 300ms"},
		{"reset", (*network).reset, "lost"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNetwork(t, s.address)
			c := s.through(n)
			c.KeepAlive = 300 * time.Millisecond
			h := dial(t, c)
			time.Sleep(time.Second)
			if err := h.Err(); err != nil {
				t.Fatalf("an idle connection was given up: %v", err)
			}
			test.cut(n)
			select {
			case <-h.done:
			case <-time.After(3 * time.Second):
				t.Error("the end of the connection is not noticed")
			}
			if err := h.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Err = %v, want %q", err, test.want)
			}
			if _, err := h.Run(t.Context(), []string{"true"}, Options{}); err == nil || errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("Run afterwards = %v, want an error that says that nothing ran", err)
			}
		})
	}
	t.Run("closed here", func(t *testing.T) {
		h := s.dial(t)
		_ = h.Close()
		if err := h.Err(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Err = %v, want net.ErrClosed", err)
		}
	})
}

func TestAlgorithmsPutKnownTypesFirst(t *testing.T) {
	ec := newECDSA(t)
	var report problem.Report
	k := loadKnownHosts("h.example:2222", []KnownHosts{{Text: "[h.example]:2222 " + string(ssh.MarshalAuthorizedKey(ec.signer.PublicKey()))}}, &report)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	got := k.algorithms("h.example:2222")
	if got[0] != ssh.KeyAlgoECDSA256 || !slices.Contains(got, ssh.KeyAlgoED25519) || slices.Contains(got, ssh.CertAlgoED25519v01) {
		t.Errorf("algorithms = %v", got)
	}
}
