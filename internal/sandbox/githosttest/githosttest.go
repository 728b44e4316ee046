// Package githosttest runs servers of git that are no GitHub, for tests: git's own,
// over HTTP as a forge answers, and behind a real SSH server.
package githosttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/debian/debiantest"
)

// HTTP is a server of repositories ROOT/PATH.git, at any depth. Like GitLab it sends
// a path without .git on to the one with it, and asks who wants a private repository
// or one that is not there.
type HTTP struct {
	*httptest.Server
	// Logins are the user and password of each private repository, by path.
	Logins map[string][2]string
	// Fail is asked before each request; what it returns other than 0 is the answer.
	Fail func(r *http.Request) int

	root, git string
	mutex     sync.Mutex
	fetches   []string
}

// ServeHTTP runs one until the test ends. A short test is skipped.
func ServeHTTP(t testing.TB, root string) *HTTP {
	t.Helper()
	return serve(t, root, httptest.NewServer)
}

// ServeHTTPS is ServeHTTP with TLS, and a certificate that nobody trusts.
func ServeHTTPS(t testing.TB, root string) *HTTP {
	t.Helper()
	return serve(t, root, httptest.NewTLSServer)
}

func serve(t testing.TB, root string, start func(http.Handler) *httptest.Server) *HTTP {
	t.Helper()
	debiantest.Install(t, "git")
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	s := &HTTP{root: root, git: git, Logins: map[string][2]string{}}
	s.Server = start(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

// Host returns its host and port.
func (s *HTTP) Host() string { return s.Listener.Addr().String() }

// CA returns the certificate to trust, in PEM.
func (s *HTTP) CA() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// Fetches returns the bodies of the requests for objects since it was last asked.
func (s *HTTP) Fetches() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	asked := s.fetches
	s.fetches = nil
	return asked
}

func (s *HTTP) answer(w http.ResponseWriter, r *http.Request) {
	if s.Fail != nil {
		if status := s.Fail(r); status != 0 {
			http.Error(w, "The test wants it so.", status)
			return
		}
	}
	path, service := r.URL.Path, ""
	for _, known := range []string{"/info/refs", "/git-upload-pack"} {
		if cut, found := strings.CutSuffix(path, known); found {
			path, service = cut, known
		}
	}
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/"), ".git")
	login, private := s.Logins[name]
	user, password, _ := r.BasicAuth()
	_, err := os.Stat(filepath.Join(s.root, name+".git"))
	switch {
	case service == "":
		http.NotFound(w, r)
		return
	case !strings.HasSuffix(path, ".git"):
		http.Redirect(w, r, path+".git"+service+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		return
	case (private || err != nil) && login != [2]string{user, password}:
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "HTTP Basic: Access denied.", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if service == "/git-upload-pack" && bytes.Contains(body, []byte("command=fetch")) {
		s.mutex.Lock()
		s.fetches = append(s.fetches, name+" "+string(body))
		s.mutex.Unlock()
	}
	// CGI knows no chunked request, which is how git sends a long one.
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.Header.Del("Authorization")
	backend := cgi.Handler{Path: s.git, Args: []string{"http-backend"}, Dir: s.root, Env: []string{"GIT_PROJECT_ROOT=" + s.root, "GIT_HTTP_EXPORT_ALL=1"}}
	backend.ServeHTTP(w, r)
}

// SSH is an SSH server of repositories ROOT/PATH.git. A key may read what Keys says.
type SSH struct {
	// Host is its host and port, and User who logs in.
	Host, User string
	// KnownHosts has its host key.
	KnownHosts string

	t    testing.TB
	dir  string
	root string
}

// ServeSSH runs one until the test ends. A short test is skipped.
func ServeSSH(t testing.TB, root string) *SSH {
	t.Helper()
	debiantest.Install(t, "git", "openssh-server", "openssh-client")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &SSH{User: me.Username, t: t, dir: t.TempDir(), root: root}
	private, public := s.pair()
	s.write("host", private, 0o600)
	s.write("keys", "", 0o600)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Host = listener.Addr().String()
	_, port, _ := net.SplitHostPort(s.Host)
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	s.KnownHosts = "[127.0.0.1]:" + port + " " + public + "\n"
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	arguments := []string{"-D", "-e", "-f", "none", "-p", port, "-h", filepath.Join(s.dir, "host")}
	for _, option := range []string{"ListenAddress=127.0.0.1", "AuthorizedKeysFile=" + filepath.Join(s.dir, "keys"), "StrictModes=no", "UsePAM=no", "PasswordAuthentication=no", "PermitRootLogin=forced-commands-only", "PidFile=none"} {
		arguments = append(arguments, "-o", option)
	}
	server := exec.Command("/usr/sbin/sshd", arguments...)
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Logf("sshd:\n%s", log.String())
		}
	})
	for tries := 0; ; tries++ {
		connection, err := net.Dial("tcp", s.Host)
		if err == nil {
			_ = connection.Close()
			return s
		}
		if tries == 100 {
			t.Fatalf("%v\n%s", err, log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// DeployKey returns a private key that may read one repository, by its path, and no
// other.
func (s *SSH) DeployKey(path string) string {
	s.t.Helper()
	private, public := s.pair()
	script := s.write("serve-"+strings.ReplaceAll(path, "/", "-"), fmt.Sprintf(`#!/bin/sh
asked=${SSH_ORIGINAL_COMMAND#git-upload-pack \'/}
if [ "$asked" != "%[1]s'" ] && [ "$asked" != "%[1]s.git'" ]; then
	echo "ERROR: Repository not found." >&2
	exit 1
fi
exec git upload-pack '%[2]s/%[1]s.git'
`, path, s.root), 0o755)
	keys, err := os.OpenFile(filepath.Join(s.dir, "keys"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = fmt.Fprintf(keys, "restrict,command=%q %s\n", script, public)
	if closing := keys.Close(); err != nil || closing != nil {
		s.t.Fatal(err, closing)
	}
	return private
}

// pair makes a pair of keys, as OpenSSH writes them.
func (s *SSH) pair() (private, public string) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func (s *SSH) write(name, text string, mode os.FileMode) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	return path
}
