package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// hostAtOnce is how many connections one host gets at a time: an SSH server
	// drops some of more than ten that have not logged in (MaxStartups).
	hostAtOnce = 4
	// fetchWithin is how long one attempt may take. What has stopped sending is
	// given up after stalledAfter.
	fetchWithin  = 10 * time.Minute
	stalledAfter = "30"
)

// passedOn is what git gets of the environment: the way to programs and proxies, and
// no secret. It has a home of its own: in the user's may be a .netrc, which the build
// does not have.
var passedOn = append([]string{"PATH", "TMPDIR", "TMP", "TEMP", "SYSTEMROOT", "PATHEXT", "COMSPEC", "NO_PROXY"}, proxies...)

// proxies are the variables that name one.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}

// SSHOptions are those with which git reaches any host over SSH, as ssh takes them on
// its command line and in its configuration. Times are in seconds.
var SSHOptions = []string{"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=10"}

// environ returns the environment in which git reaches a source, and puts into a
// folder what that refers to. What the user has configured for git is left out, so
// that all get the same.
func (g *Git) environ(dir string, s Source) ([]string, error) {
	environ := []string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ALLOW_PROTOCOL=https:http:ssh",
		"HOME=" + dir, "USERPROFILE=" + dir}
	for _, pair := range g.opts.Environ {
		if name, _, _ := strings.Cut(pair, "="); slices.Contains(passedOn, strings.ToUpper(name)) {
			environ = append(environ, pair)
		}
	}
	config := [][2]string{{"http.lowSpeedLimit", "1"}, {"http.lowSpeedTime", stalledAfter}, {"credential.useHttpPath", "true"}}
	file := func(name, text string) (string, error) {
		path := filepath.Join(dir, name)
		return path, os.WriteFile(path, []byte(text), 0o600)
	}
	if s.SSH() {
		if _, err := file("known_hosts", g.opts.KnownHosts); err != nil {
			return nil, fmt.Errorf("write host keys for %s: %w", s.URL, err)
		}
		if _, err := file("key", s.PrivateKey()); err != nil {
			return nil, fmt.Errorf("write key for %s: %w", s.URL, err)
		}
		// From the repository, where git is run: ssh has its own way with spaces and
		// percent signs, which the folder's name may have.
		ssh := "ssh -F none -i ../key -o UserKnownHostsFile=../known_hosts -o GlobalKnownHostsFile=/dev/null"
		for _, option := range SSHOptions {
			ssh += " -o " + option
		}
		environ = append(environ, "GIT_SSH_COMMAND="+ssh, "GIT_SSH_VARIANT=ssh")
	} else if s.Token.IsSet() {
		const helper = `!printf 'username=%s\npassword=%s\n' "$PIPELINE_GIT_USER" "$PIPELINE_GIT_TOKEN"; :`
		environ = append(environ, "PIPELINE_GIT_USER="+s.Login(), "PIPELINE_GIT_TOKEN="+s.Token.Reveal())
		for _, address := range []string{s.URL, s.URL + ".git"} {
			config = append(config, [2]string{"credential." + address + ".helper", helper})
		}
	}
	if trust := systemTrust(); g.opts.CAs != "" && trust != nil {
		bundle, err := file("trust.crt", string(trust)+"\n"+g.opts.CAs)
		if err != nil {
			return nil, fmt.Errorf("write certificates for %s: %w", s.URL, err)
		}
		environ = append(environ, "GIT_SSL_CAINFO="+bundle)
	}
	environ = append(environ, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config)))
	for i, pair := range config {
		environ = append(environ, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, pair[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, pair[1]))
	}
	return environ, nil
}

// systemTrust returns the CAs that this machine trusts, from where the usual systems
// keep them, or nil: git is told of one file, which has to have them all.
func systemTrust() []byte {
	for _, path := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"} {
		if text, err := os.ReadFile(path); err == nil {
			return text
		}
	}
	return nil
}

// ask runs a git that talks to the server, again after a passing fault.
func (r clone) ask(ctx context.Context, args ...string) ([]byte, error) {
	free := r.g.slots(r.source.Host)
	select {
	case free <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-free }()
	pause := r.g.firstWait
	for attempt := 1; ; attempt++ {
		out, err := r.reached(ctx, args...)
		var failed *gitError
		if err == nil || ctx.Err() != nil || !errors.As(err, &failed) {
			return out, err
		}
		if attempt == attempts || !failed.passing() {
			return nil, r.explain(failed)
		}
		wait := pause + rand.N(pause/2+1)
		r.g.opts.Log.Debug().Str("url", r.source.URL).Int("attempt", attempt).Dur("wait", wait).Err(err).Msg("asking the host of git again")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		pause *= 2
	}
}

// dialWithin is how long a host may take to take a connection. git itself waits for
// what the system does, which is minutes.
const dialWithin = 15 * time.Second

// reached runs git once the host has taken a connection. Behind a proxy only the proxy
// knows, and ssh is told how long to wait.
func (r clone) reached(ctx context.Context, args ...string) ([]byte, error) {
	proxied := slices.ContainsFunc(r.environ, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(proxies, strings.ToUpper(name))
	})
	if proxied || r.source.SSH() {
		return r.git(ctx, args...)
	}
	address := r.source.Host
	if _, _, err := net.SplitHostPort(address); err != nil {
		scheme, _, _ := strings.Cut(r.source.URL, "://")
		address = net.JoinHostPort(strings.Trim(address, "[]"), map[string]string{"http": "80", "https": "443"}[scheme])
	}
	connection, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, "tcp", address)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// A name is looked up by git itself, which may know more ways.
	var unnamed *net.DNSError
	if err != nil && !errors.As(err, &unnamed) {
		var timeout net.Error
		return nil, &gitError{err: err, complaint: err.Error(), silent: errors.As(err, &timeout) && timeout.Timeout()}
	}
	if connection != nil {
		_ = connection.Close()
	}
	return r.git(ctx, args...)
}

// slots returns what bounds the connections to a host.
func (g *Git) slots(host string) chan struct{} {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.hosts[host] == nil {
		g.hosts[host] = make(chan struct{}, hostAtOnce)
	}
	return g.hosts[host]
}

// git runs git in the repository and returns what it prints. Its error is a
// *gitError, or what ended the context.
func (r clone) git(ctx context.Context, args ...string) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	// git ends the programs that it started where it is asked to end.
	cmd := exec.CommandContext(limited, "git", args...)
	cmd.Cancel = func() error {
		if cmd.Process.Signal(syscall.SIGTERM) != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir, cmd.Env = r.dir, r.environ
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if limited.Err() != nil {
		err = fmt.Errorf("no end within %s", fetchWithin)
	}
	if err != nil {
		return nil, &gitError{err: err, complaint: complaint.String()}
	}
	return out.Bytes(), nil
}
