package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Dial connects to a host and logs in. Nothing is authenticated before the
// host's key has been found in known_hosts.
//
// What is wrong comes back as problems, see [Problems]: with the configuration
// all of it at once, with the connection the one thing that stopped it. An
// [*UnknownHostKeyError] or [*KeyMismatchError] can be had by errors.As.
// For a cancelled context it returns the context's error instead.
func Dial(ctx context.Context, c Config) (*Host, error) {
	var report problem.Report
	route := prepare(ctx, c, &report)
	defer route.close()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Address, context.Cause(ctx))
	}
	if err := report.Err(); err != nil {
		return nil, err
	}
	return route.connectWithRetries(ctx)
}

// connectWithRetries connects, and again where a server that is there hangs up before
// anything was said: on a host on the internet others always try to log in as
// well, and sshd turns away by chance when there are many (MaxStartups, "start,
// rate, full", in sshd_config(5)).
func (r *route) connectWithRetries(ctx context.Context) (*Host, error) {
	began := time.Now()
	for pause := firstPause; ; pause *= 2 {
		h, err := r.connect(ctx)
		var p problem.Problem
		if err == nil || !errors.As(err, &p) || p.Code != codeClosed || time.Since(began)+pause > r.RetryTimeout {
			return h, err
		}
		r.Log.Debug().Err(err).Stringer("pause", pause).Msg("connecting again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", r.Address, context.Cause(ctx))
		}
	}
}

const (
	firstPause = 250 * time.Millisecond
	codeClosed = "host.handshake-closed"
)

// route is a checked configuration with everything loaded, for the host and
// the jump hosts before it.
type route struct {
	Config
	known *knownKeys
	keys  *keyring
	jump  *route
}

func prepare(ctx context.Context, c Config, report *problem.Report) *route {
	r := &route{Config: c.normalize(report)}
	if c.Jump != nil {
		r.jump = prepare(ctx, *c.Jump, report)
	}
	r.known = loadKnownHosts(r.Address, r.KnownHosts, report)
	r.keys = loadKeys(ctx, r.Config, report)
	return r
}

func (r *route) close() {
	r.keys.close()
	if r.jump != nil {
		r.jump.close()
	}
}

func (r *route) connect(ctx context.Context) (*Host, error) {
	started := time.Now()
	conn, jump, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	h := &Host{address: r.Address, user: r.User, log: r.Log, jump: jump, conn: &watchedConn{Conn: conn, opened: time.Now()},
		done: make(chan struct{}), sessions: make(chan struct{}, maxSessions)}
	if err := r.handshake(ctx, h); err != nil {
		h.disconnect()
		return nil, err
	}
	go h.watch()
	go h.keepAlive(r.KeepAlive)
	r.Log.Debug().Str("host", r.Address).Str("user", r.User).Str("server", string(h.client.ServerVersion())).
		Dur("took", time.Since(started)).Msg("connected")
	return h, nil
}

// open returns the byte stream to the host, and the jump host it goes through.
func (r *route) open(ctx context.Context) (net.Conn, *Host, error) {
	if r.jump == nil {
		conn, err := (&net.Dialer{Timeout: r.HandshakeTimeout}).DialContext(ctx, "tcp", r.Address)
		if err != nil {
			return nil, nil, r.unreachable(ctx, err)
		}
		return conn, nil, nil
	}
	jump, err := r.jump.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, r.HandshakeTimeout)
	defer cancel()
	conn, err := jump.DialHost(limited, "tcp", r.Address)
	if err == nil {
		return conn, jump, nil
	}
	defer jump.Close()
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", r.Address, context.Cause(ctx))
	}
	detail := fmt.Sprintf("can't be reached from the jump host %s: %v", r.jump.Address, err)
	remedy := fmt.Sprintf("check the address, and that %s is reachable from the jump host", r.Address)
	var refused *ssh.OpenChannelError
	switch {
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		detail = fmt.Sprintf("the jump host %s does not forward connections", r.jump.Address)
		remedy = "set AllowTcpForwarding local (or yes) and a fitting PermitOpen in sshd_config of the jump host"
	case errors.Is(err, context.DeadlineExceeded):
		detail = fmt.Sprintf("no answer within %s through the jump host %s", r.HandshakeTimeout, r.jump.Address)
	}
	return nil, nil, problem.Problem{Code: "host.jump", Subject: r.Address, Detail: detail, Remedy: remedy, Err: err}
}

// unreachable returns why there is no TCP connection.
func (r *route) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connect to %s: %w", r.Address, context.Cause(ctx))
	}
	p := problem.Problem{Subject: r.Address, Err: err}
	name, _, _ := net.SplitHostPort(r.Address)
	var (
		dns     *net.DNSError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		p.Code, p.Detail = "host.name-unknown", fmt.Sprintf("the name %s can't be resolved: there is no such host", name)
		p.Remedy = "check the spelling of the host's name and this machine's name servers"
	case errors.As(err, &dns):
		p.Code, p.Detail = "host.name-unknown", fmt.Sprintf("the name %s can't be resolved: %s", name, dns.Err)
		p.Remedy = "check that this machine's name servers answer, and try again"
	case errors.Is(err, syscall.ECONNREFUSED):
		p.Code, p.Detail = "host.refused", "the connection was refused: nothing listens on this port"
		p.Remedy = "check the port, and that sshd runs on the host"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		p.Code, p.Detail = "host.timeout", fmt.Sprintf("no connection within %s", r.HandshakeTimeout)
		p.Remedy = "check that the host is up, and that no firewall drops connections to this port"
	default:
		p.Code, p.Detail = "host.unreachable", fmt.Sprintf("can't be reached: %v", err)
		p.Remedy = "check the address and this machine's network"
	}
	return p
}

// handshake agrees on keys, checks the host's, and logs in.
func (r *route) handshake(ctx context.Context, h *Host) error {
	var (
		verified  atomic.Bool
		expired   atomic.Bool
		hostKey   error
		hostKeyMu sync.Mutex
	)
	config := &ssh.ClientConfig{
		User: r.User,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(r.keys.signers...)},
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			err := r.known.verify(r.Address, remote, key)
			hostKeyMu.Lock()
			defer hostKeyMu.Unlock()
			hostKey = err
			verified.Store(err == nil)
			return err
		},
		HostKeyAlgorithms: r.known.algorithms(r.Address),
	}
	// ClientConfig.Timeout ends with the TCP connect, and a connection
	// through a jump host knows no deadlines: what always works is to close
	// it, and the agent's, which may be waiting for its user.
	abort := func() {
		h.disconnect()
		r.keys.close()
	}
	timer := time.AfterFunc(r.HandshakeTimeout, func() {
		expired.Store(true)
		abort()
	})
	defer timer.Stop()
	stop := context.AfterFunc(ctx, abort)
	defer stop()
	conn, channels, requests, err := ssh.NewClientConn(h.conn, r.Address, config)
	if err == nil && (!timer.Stop() || !stop()) {
		_ = conn.Close()
		err = net.ErrClosed
	}
	if err == nil {
		h.client = ssh.NewClient(conn, channels, requests)
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("connect to %s: %w", r.Address, context.Cause(ctx))
	}
	hostKeyMu.Lock()
	defer hostKeyMu.Unlock()
	if hostKey != nil {
		var withProblem interface{ problem() problem.Problem }
		if errors.As(hostKey, &withProblem) {
			return withProblem.problem()
		}
		return hostKey
	}
	return r.failed(err, expired.Load(), verified.Load(), h.conn)
}

// failed returns why the handshake came to nothing.
func (r *route) failed(err error, expired, verified bool, conn *watchedConn) error {
	p := problem.Problem{Subject: r.Address, Err: err}
	greeting := conn.greeting()
	// x/crypto has no type for this error.
	refused := strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "Too many authentication failures")
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case verified && refused:
		p.Code = "host.auth-refused"
		p.Detail = fmt.Sprintf("login of %s was refused; tried: %s", r.User, r.keys)
		if strings.Contains(err.Error(), "Too many authentication failures") {
			p.Detail += "; the host stopped after too many attempts"
		}
		p.Remedy = fmt.Sprintf("add the public half of one of these keys to ~%s/.ssh/authorized_keys on the host, or set the right user or key", r.User)
	case errors.As(err, &negotiation):
		p.Code = "host.algorithms"
		p.Detail = fmt.Sprintf("no common algorithm for %s: the host offers %s", negotiation.What, strings.Join(negotiation.RequestedAlgorithms, ", "))
		p.Remedy = "update OpenSSH on the host, or take the limits out of its sshd_config"
	case bytes.HasPrefix(greeting, []byte("Exceeded MaxStartups")), bytes.HasPrefix(greeting, []byte("Not allowed at this time")):
		// OpenSSH's own words.
		p.Code = codeClosed
		p.Detail = fmt.Sprintf("the SSH server turned the connection away: %s", bytes.TrimSpace(greeting))
		p.Remedy = "try again later; if it stays, raise MaxStartups in sshd_config on the host, or see there what PerSourcePenalties hold against this address"
	case len(greeting) > 0 && !couldBeSSH(greeting):
		p.Code = "host.not-ssh"
		p.Detail = fmt.Sprintf("something else than an SSH server answers: %q", greeting)
		p.Remedy = "check the port"
	case expired && len(greeting) == 0:
		p.Code = "host.silent"
		p.Detail = fmt.Sprintf("the port accepts connections but said nothing within %s", r.HandshakeTimeout)
		p.Remedy = "check the port; on the host, check that sshd is not overloaded or stopped"
	case expired && verified:
		p.Code = "host.handshake-stalled"
		p.Detail = fmt.Sprintf("login of %s did not end within %s", r.User, r.HandshakeTimeout)
		p.Remedy = "check what the host waits for at login (name service, PAM), and whether an SSH agent waits for a confirmation"
	case expired:
		p.Code = "host.handshake-stalled"
		p.Detail = fmt.Sprintf("the SSH handshake stopped halfway and did not end within %s", r.HandshakeTimeout)
		p.Remedy = "try again; if it stays, check for a firewall or a too small MTU on the way"
	default:
		p.Code = codeClosed
		p.Detail = fmt.Sprintf("the connection was closed during the SSH handshake: %v", bare(err))
		p.Remedy = "check the log of sshd on the host: a limit (MaxStartups), a ban after failed logins, or a rule for this address"
	}
	return p
}

// bare takes the library's prefix off.
func bare(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "ssh: handshake failed") {
		return inner
	}
	return err
}

// couldBeSSH reports whether a server's first bytes may belong to an SSH server,
// which may send lines of text before its version (RFC 4253, 4.2).
func couldBeSSH(greeting []byte) bool {
	for _, line := range bytes.SplitAfter(greeting, []byte("\n")) {
		prefix := []byte("SSH-")[:min(4, len(line))]
		if len(line) > 0 && bytes.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// watchedConn remembers when the host was last heard, and its first bytes.
type watchedConn struct {
	net.Conn
	opened time.Time
	// heard is when, in nanoseconds after opened: the machine's clock may be
	// set in between.
	heard atomic.Int64

	mu    sync.Mutex
	first []byte
	full  bool
}

const greetingBytes = 255

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.opened)))
		c.remember(p[:n])
	}
	return n, err
}

func (c *watchedConn) lastHeard() time.Time {
	return c.opened.Add(time.Duration(c.heard.Load()))
}

func (c *watchedConn) remember(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return
	}
	c.first = append(c.first, p[:min(len(p), greetingBytes-len(c.first))]...)
	c.full = len(c.first) == greetingBytes
}

func (c *watchedConn) greeting() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.first)
}
