package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// ShownKey is a key that a host showed. Who showed it is not known: another may
// answer in the host's place, so that a person has to compare it.
type ShownKey struct {
	// Type is for instance ssh-ed25519.
	Type string
	// Fingerprint is that of ssh-keygen -l, SHA256:….
	Fingerprint string
	// Line is the line of known_hosts with this key.
	Line string
}

// ShowKeys asks a host for its keys, one of each type that it has, and logs in
// nowhere. Of the configuration it takes Address, Port and HandshakeTimeout. The
// error has problems, see [Problems], or is the context's.
func ShowKeys(ctx context.Context, c Config) ([]ShownKey, error) {
	// No user logs in.
	c.User, c.Jump = "nobody", nil
	var report problem.Report
	r := &route{Config: c.normalize(&report)}
	if err := report.Err(); err != nil {
		return nil, err
	}
	var shown []ShownKey
	for _, algorithms := range [][]string{
		{ssh.KeyAlgoED25519},
		{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
		{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
	} {
		key, err := r.showKey(ctx, algorithms)
		if err != nil {
			return nil, err
		}
		if key != nil {
			shown = append(shown, ShownKey{key.Type(), ssh.FingerprintSHA256(key), knownhosts.Line([]string{knownhosts.Normalize(r.Address)}, key)})
		}
	}
	if len(shown) == 0 {
		return nil, problem.Problem{Code: "host.algorithms", Subject: r.Address, Detail: "shows no host key of a type that is supported",
			Remedy: "make one on the host: ssh-keygen -A"}
	}
	return shown, nil
}

// errShown ends a handshake as soon as the key is there.
var errShown = errors.New("the key was shown")

// showKey returns the key that the host shows where these algorithms alone are
// offered, and nil where it has none for them.
func (r *route) showKey(ctx context.Context, algorithms []string) (ssh.PublicKey, error) {
	opened, _, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	conn := &watchedConn{Conn: opened, opened: time.Now()}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(r.HandshakeTimeout)); err != nil {
		return nil, r.failed(err, false, false, conn)
	}
	var shown ssh.PublicKey
	client, _, _, err := ssh.NewClientConn(conn, r.Address, &ssh.ClientConfig{
		User: r.User, HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			shown = key
			return errShown
		},
	})
	if err == nil {
		_ = client.Close()
	}
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case shown != nil:
		return shown, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connect to %s: %w", r.Address, context.Cause(ctx))
	case errors.As(err, &negotiation):
		return nil, nil
	}
	var timeout net.Error
	return nil, r.failed(err, errors.As(err, &timeout) && timeout.Timeout(), false, conn)
}
