package host

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// keyring is every key to log in with, and where each came from.
type keyring struct {
	signers []ssh.Signer
	places  []string
	agent   net.Conn
}

func (r *keyring) add(signer ssh.Signer, place string) {
	// Servers count attempts (MaxAuthTries): the same key must not take two.
	if !r.has(signer.PublicKey()) {
		r.signers, r.places = append(r.signers, signer), append(r.places, place)
	}
}

func (r *keyring) has(key ssh.PublicKey) bool {
	fingerprint := ssh.FingerprintSHA256(key)
	for _, s := range r.signers {
		if ssh.FingerprintSHA256(s.PublicKey()) == fingerprint {
			return true
		}
	}
	return false
}

// String lists the keys as they are compared with authorized_keys.
func (r *keyring) String() string {
	lines := make([]string, len(r.signers))
	for i, s := range r.signers {
		lines[i] = fmt.Sprintf("%s %s (%s)", s.PublicKey().Type(), ssh.FingerprintSHA256(s.PublicKey()), r.places[i])
	}
	return strings.Join(lines, ", ")
}

func (r *keyring) close() {
	if r.agent != nil {
		_ = r.agent.Close()
	}
}

// loadKeys opens every key and reports each that can't be used.
func loadKeys(ctx context.Context, c Config, report *problem.Report) *keyring {
	before := len(*report)
	ring := &keyring{}
	fromAgent := &keyring{}
	var agentErr error
	if c.AgentSocket != "" {
		agentErr = fromAgent.openAgent(ctx, c.AgentSocket, c.HandshakeTimeout)
		ring.agent = fromAgent.agent
		if agentErr != nil && len(c.Keys) > 0 {
			c.Log.Warn().Err(agentErr).Str("socket", c.AgentSocket).Msg("SSH agent does not answer, going on with the other keys")
		}
	}
	for _, key := range c.Keys {
		signer, err := key.open()
		var locked *ssh.PassphraseMissingError
		switch {
		case err == nil:
			ring.add(signer, key.place())
		case errors.As(err, &locked) && locked.PublicKey != nil && fromAgent.has(locked.PublicKey):
			// The agent has it unlocked.
		case errors.As(err, &locked):
			report.Add(problem.Problem{Code: "host.key-encrypted", Subject: key.place(), Err: err,
				Detail: "the private key is encrypted and no passphrase is set", Remedy: "set its passphrase, or add the key to an SSH agent"})
		case errors.Is(err, x509.IncorrectPasswordError):
			report.Add(problem.Problem{Code: "host.key-passphrase", Subject: key.place(), Err: err,
				Detail: "the passphrase does not open the private key", Remedy: "set the passphrase of this key"})
		case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
			report.Add(problem.Problem{Code: "host.key-unreadable", Subject: key.place(), Err: err,
				Detail: fmt.Sprintf("the private key can't be read: %v", err), Remedy: "give the path of a private key that this user may read"})
		default:
			report.Add(problem.Problem{Code: "host.key-unreadable", Subject: key.place(), Err: err,
				Detail: fmt.Sprintf("this is no private key: %v", err), Remedy: "give the whole private key, from its BEGIN line to its END line (the public half, ending in .pub, is another file)"})
		}
	}
	for i, signer := range fromAgent.signers {
		ring.add(signer, fromAgent.places[i])
	}
	if len(ring.signers) == 0 && len(*report) == before {
		detail := "there is no key to log in with"
		switch {
		case agentErr != nil:
			detail = fmt.Sprintf("there is no key to log in with: %v", agentErr)
		case c.AgentSocket != "":
			detail = "there is no key to log in with: the SSH agent has none"
		}
		report.Add(problem.Problem{Code: "host.key-missing", Subject: c.Address, Err: agentErr, Detail: detail,
			Remedy: "set a private key, or add one to an SSH agent"})
	}
	return ring
}

// LoginKeys returns the public halves of the keys to log in with: of those that are
// given, or without any of the agent's. What is wrong with them comes back as problems,
// see [Problems].
func LoginKeys(ctx context.Context, c Config) (keys []ssh.PublicKey, err error) {
	var report problem.Report
	ring := loadKeys(ctx, c, &report)
	defer ring.close()
	if err := report.Err(); err != nil {
		return nil, err
	}
	for _, key := range c.Keys {
		signer, err := key.open()
		var locked *ssh.PassphraseMissingError
		switch {
		case err == nil:
			keys = append(keys, signer.PublicKey())
		case errors.As(err, &locked):
			keys = append(keys, locked.PublicKey) // the agent has it unlocked
		}
	}
	if len(c.Keys) == 0 {
		for _, signer := range ring.signers {
			keys = append(keys, signer.PublicKey())
		}
	}
	return keys, nil
}

// open parses the key.
func (k Key) open() (ssh.Signer, error) {
	text := k.PEM.Reveal()
	if k.Path != "" {
		data, err := os.ReadFile(k.Path)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	// Text that went through a form has lost its last line end or gained
	// carriage returns.
	data := []byte(strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")) + "\n")
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && k.Passphrase.IsSet() {
		return ssh.ParsePrivateKeyWithPassphrase(data, []byte(k.Passphrase.Reveal()))
	}
	return signer, err
}

// openAgent takes over the keys of an agent. The connection stays open: the
// agent is what signs.
func (r *keyring) openAgent(ctx context.Context, socket string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("ask SSH agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		_ = conn.Close()
		return fmt.Errorf("ask SSH agent: %w", err)
	}
	r.agent = conn
	for _, s := range signers {
		r.add(s, "agent "+socket)
	}
	return nil
}
