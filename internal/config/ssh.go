package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// access looks, where the host is to be reached, at the private key and the
// known hosts: without them a release would be built and pushed for nothing.
func (l *loader) access(c *Config) {
	const keyName, keyFile, knownName, knownFile = "DEPLOY_SSH_KEY", "DEPLOY_SSH_KEY_FILE", "DEPLOY_KNOWN_HOSTS", "DEPLOY_KNOWN_HOSTS_FILE"
	key, known := c.Host.Keys[0], &c.Host.KnownHosts[0]
	l.notBoth(keyName, keyFile)
	if !l.notBoth(knownName, knownFile) && l.isSet(knownName) {
		known.Path = ""
	}
	if !key.PEM.IsSet() && key.Path == "" {
		c.Host.Keys = nil
	}
	// Git over SSH reads the file too; without a home there is none.
	if l.need&(Deploy|HostAccess) != 0 || l.home() != "" {
		known.Path = l.expand(knownFile, known.Path)
	}
	if l.need&(Deploy|HostAccess) == 0 {
		return
	}
	switch {
	case key.PEM.IsSet():
		l.privateKey(keyName, "", []byte(key.PEM.Reveal()), key.Passphrase)
	case key.Path != "":
		if data, ok := l.contents(keyFile, key.Path, "the private key", ", or make the key with ssh-keygen", true); ok {
			l.privateKey(keyFile, " names "+key.Path+", which", data, key.Passphrase)
		}
	case c.Host.AgentSocket == "" && c.Host.Address != "":
		l.report.Addf("config.missing", "environment", "set DEPLOY_SSH_KEY_FILE to a private key, or DEPLOY_SSH_KEY to its text", "there is no SSH key to log in with, and no SSH agent")
	}
	switch {
	case known.Text != "":
		l.knownHosts(knownName, "", known.Text)
	case known.Path != "" && c.Host.Address != "":
		const remedy = "give the host's key in DEPLOY_KNOWN_HOSTS or DEPLOY_KNOWN_HOSTS_FILE; ssh-keyscan prints it, compare it with the host's own"
		data, err := l.sources.ReadFile(known.Path)
		if err != nil {
			l.bad(knownFile, remedy, "names %s: %s", known.Path, reason(err))
			return
		}
		l.knownHosts(knownFile, known.Path, string(data))
	}
}

// jump completes how to reach the host to connect through: in the same way as
// the host itself.
func (l *loader) jump(c *Config) {
	if c.Host.Jump == nil {
		return
	}
	jump := c.Host
	jump.Address, jump.Port, jump.Jump = c.Host.Jump.Address, c.Host.Jump.Port, nil
	if c.Host.Jump.User != "" {
		jump.User = c.Host.Jump.User
	}
	c.Host.Jump = &jump
}

// privateKey reports a private key that can't be used. which is put between the
// name of the setting and what is wrong.
func (l *loader) privateKey(key, which string, data []byte, passphrase secret.Secret) {
	add := func(err error, remedy, detail string) {
		l.report.Add(problem.Problem{Code: "config.ssh-key", Subject: l.where(key), Detail: key + which + " " + detail, Remedy: remedy, Err: err})
	}
	_, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if !passphrase.IsSet() {
			add(err, "set DEPLOY_SSH_KEY_PASSPHRASE, or use a key without a passphrase", "has a passphrase, and DEPLOY_SSH_KEY_PASSPHRASE is not set")
			return
		}
		_, err = ssh.ParseRawPrivateKeyWithPassphrase(data, []byte(passphrase.Reveal()))
		if errors.Is(err, x509.IncorrectPasswordError) {
			add(err, "set DEPLOY_SSH_KEY_PASSPHRASE to the key's own", "doesn't open with DEPLOY_SSH_KEY_PASSPHRASE")
			return
		}
	}
	switch {
	case err == nil:
	case !strings.Contains(string(data), "PRIVATE KEY"):
		add(err, "give the private key, whose first line has BEGIN and PRIVATE KEY in it", "is not a private key")
	default:
		// The parsers' own errors quote nothing of the key.
		add(err, "give the whole text of the key, with its first and last line and its line breaks", "can't be parsed as a private key: "+err.Error())
	}
}

// knownHosts reports the lines that are not of the format.
func (l *loader) knownHosts(key, file, text string) {
	entries := 0
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		entries++
		_, _, _, _, _, err := ssh.ParseKnownHosts([]byte(line))
		// OpenSSH knows more types of keys than the library: leave those.
		if err == nil || strings.Contains(err.Error(), "unknown key algorithm") {
			continue
		}
		p := problem.Problem{Code: "config.known-hosts", Remedy: "correct or remove the line", Err: err}
		if file != "" {
			p.Subject, p.Detail = place(file, i+1), "this is not a line of a known_hosts file"
		} else {
			p.Subject, p.Detail = l.where(key), fmt.Sprintf("%s is not in the format of known_hosts: see its line %d", key, i+1)
		}
		l.report.Add(p)
	}
	if entries == 0 {
		l.bad(key, "give the host's key; ssh-keyscan prints it, compare it with the host's own", "has no host keys in it")
	}
}
