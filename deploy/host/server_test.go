//go:build unix

package host

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// keyPair is a key for a host or a user.
type keyPair struct {
	raw    crypto.PrivateKey
	signer ssh.Signer
	pem    secret.Secret
}

func newKeyPair(t testing.TB, raw crypto.PrivateKey) keyPair {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(raw, "test")
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{raw: raw, signer: signer, pem: secret.New(string(pem.EncodeToMemory(block)))}
}

func newEd25519(t testing.TB) keyPair {
	t.Helper()
	_, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newKeyPair(t, raw)
}

func newECDSA(t testing.TB) keyPair {
	t.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return newKeyPair(t, raw)
}

func (k keyPair) fingerprint() string { return ssh.FingerprintSHA256(k.signer.PublicKey()) }

// server is an SSH server of a test: a real sshd, or one in this process that
// runs commands with sh.
type server struct {
	address string
	user    string
	userKey keyPair
	hostKey keyPair
	pid     int    // of sshd
	log     string // of sshd
	logins  atomic.Int32
	// terminals gets what the server in this process is asked for terminals;
	// where it is nil, there are none.
	terminals chan string
}

// config is one that works.
func (s *server) config() Config {
	return Config{
		Address: s.address, User: s.user,
		Keys:       []Key{{Name: "TEST_KEY", PEM: s.userKey.pem}},
		KnownHosts: []KnownHosts{{Name: "KNOWN", Text: knownhosts.Line([]string{s.address}, s.hostKey.signer.PublicKey())}},
		Log:        zerolog.Nop(),
	}
}

func (s *server) dial(t testing.TB) *Host { return dial(t, s.config()) }

func dial(t testing.TB, c Config) *Host {
	t.Helper()
	h, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// inProcess starts a server in this process. It knows one key, runs commands,
// and passes signals on.
func inProcess(t testing.TB, hostKeys ...keyPair) *server {
	t.Helper()
	s := &server{user: "deployer", userKey: newEd25519(t)}
	if len(hostKeys) == 0 {
		hostKeys = []keyPair{newEd25519(t)}
	}
	s.hostKey = hostKeys[0]
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.logins.Add(1)
		if !bytes.Equal(key.Marshal(), s.userKey.signer.PublicKey().Marshal()) {
			return nil, errors.New("not this key")
		}
		return nil, nil
	}}
	for _, k := range hostKeys {
		config.AddHostKey(k.signer)
	}
	s.address = listen(t, func(conn net.Conn) {
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for channel := range channels {
			if channel.ChannelType() != "session" {
				_ = channel.Reject(ssh.Prohibited, "sessions only")
				continue
			}
			c, requests, err := channel.Accept()
			if err == nil {
				go s.runSession(t, c, requests)
			}
		}
	})
	return s
}

// runSession runs one command. Like sshd, it leaves the command running when
// the session is closed; it ends with the test.
func (s *server) runSession(t testing.TB, c ssh.Channel, requests <-chan *ssh.Request) {
	defer c.Close()
	var cmd *exec.Cmd
	ended := make(chan error, 1)
	for {
		select {
		case r, ok := <-requests:
			switch {
			case !ok:
				return
			case r.Type == "exec":
				var message struct{ Command string }
				_ = ssh.Unmarshal(r.Payload, &message)
				cmd = exec.Command("sh", "-c", message.Command)
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				cmd.Stdout, cmd.Stderr = c, c.Stderr()
				stdin, _ := cmd.StdinPipe()
				err := cmd.Start()
				_ = r.Reply(err == nil, nil)
				go func() { _, _ = io.Copy(stdin, c); _ = stdin.Close() }()
				over := make(chan struct{})
				go func() { ended <- cmd.Wait(); close(over) }()
				t.Cleanup(func() {
					select {
					case <-over:
					default:
						_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
						<-over
					}
				})
			case r.Type == "pty-req" && s.terminals != nil:
				var m struct {
					Term                         string
					Columns, Rows, Width, Height uint32
					Modes                        string
				}
				_ = ssh.Unmarshal(r.Payload, &m)
				s.terminals <- fmt.Sprintf("%s %dx%d", m.Term, m.Columns, m.Rows)
				_ = r.Reply(true, nil)
			case r.Type == "window-change" && s.terminals != nil:
				var m struct{ Columns, Rows, Width, Height uint32 }
				_ = ssh.Unmarshal(r.Payload, &m)
				s.terminals <- fmt.Sprintf("now %dx%d", m.Columns, m.Rows)
			case r.Type == "signal" && cmd != nil:
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			default:
				_ = r.Reply(false, nil)
			}
		case <-ended:
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if status.Signaled() {
				name := map[syscall.Signal]string{syscall.SIGKILL: "KILL", syscall.SIGTERM: "TERM"}[status.Signal()]
				_, _ = c.SendRequest("exit-signal", false, ssh.Marshal(struct {
					Name  string
					Core  bool
					Error string
					Lang  string
				}{Name: name}))
			} else {
				_, _ = c.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status.ExitStatus())))
			}
			return
		}
	}
}

// listen serves connections on a loopback port until the test ends.
func listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		all   sync.WaitGroup
	)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String()
}

// realSSHD starts OpenSSH's server on a loopback port. The lines of
// configuration given come before the usual ones, and the first one counts.
func realSSHD(t testing.TB, configuration ...string) *server {
	t.Helper()
	debiantest.Install(t, "openssh-server")
	if os.Geteuid() == 0 {
		// sshd as root puts its unprivileged half there.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s := &server{user: currentUser(t), userKey: newEd25519(t), hostKey: newEd25519(t), log: filepath.Join(dir, "log")}
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = free.Addr().String()
	_, port, _ := net.SplitHostPort(s.address)
	_ = free.Close()
	lines := append(configuration,
		"ListenAddress 127.0.0.1", "Port "+port, "PidFile none", "UsePAM no", "StrictModes no",
		// The start-up files of the user who runs the tests are no part of them.
		"SetEnv HOME="+dir,
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
		"HostKey "+file("host_key", s.hostKey.pem.Reveal()),
		"AuthorizedKeysFile "+file("authorized_keys", string(ssh.MarshalAuthorizedKey(s.userKey.signer.PublicKey()))))
	conf := file("sshd_config", strings.Join(lines, "\n")+"\n")
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", conf)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			t.Logf("sshd:\n%s", strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
	eventually(t, "sshd listens", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return s
}

// killSessions kills the processes of sshd that serve connections, but not
// what they started.
func (s *server) killSessions(t testing.TB) {
	t.Helper()
	killed := 0
	for _, pid := range descendants(s.pid) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if strings.HasPrefix(string(name), "sshd") {
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}
	if killed == 0 {
		t.Fatal("there is no session of sshd to kill")
	}
}

func descendants(pid int) []int {
	var all []int
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, field := range strings.Fields(string(text)) {
		child, _ := strconv.Atoi(field)
		all = append(append(all, child), descendants(child)...)
	}
	return all
}

func currentUser(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("id", "-un").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// network is a way to a server that can be cut.
type network struct {
	address string
	mu      sync.Mutex
	conns   []*net.TCPConn
	hole    chan struct{}
}

// newNetwork forwards connections to a server.
func newNetwork(t testing.TB, to string) *network {
	t.Helper()
	n := &network{hole: make(chan struct{})}
	n.address = listen(t, func(near net.Conn) {
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.conns = append(n.conns, near.(*net.TCPConn), far.(*net.TCPConn))
		n.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { n.copy(far, near) })
		both.Go(func() { n.copy(near, far) })
		both.Wait()
	})
	t.Cleanup(n.reset)
	return n
}

func (n *network) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		count, err := from.Read(buffer)
		select {
		case <-n.hole:
			// What was sent is lost, and neither end is told.
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buffer[:count]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// blackHole makes everything sent from now on disappear.
func (n *network) blackHole() { close(n.hole) }

// reset breaks all connections, with an RST to both sides.
func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// through is the server's configuration with another way to it.
func (s *server) through(n *network) Config {
	c := s.config()
	c.Address = n.address
	c.KnownHosts[0].Text = knownhosts.Line([]string{n.address}, s.hostKey.signer.PublicKey())
	return c
}

func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	started := time.Now()
	f()
	if took := time.Since(started); took > limit {
		t.Errorf("%s took %s, more than %s", what, took, limit)
	}
}

func cancelAfter(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(d, cancel)
	t.Cleanup(func() { timer.Stop(); cancel() })
	return ctx
}
