package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// ssh looks, where the host is to be reached, at the private key and the known
// hosts: without them a release would be built and pushed for nothing.
func (l *loader) ssh(t *Target) {
	t.SSHKeyFile = l.expand("DEPLOY_SSH_KEY_FILE", t.SSHKeyFile)
	_, chosen := l.values["DEPLOY_KNOWN_HOSTS_FILE"]
	if t.KnownHosts != "" && !chosen {
		t.KnownHostsFile = ""
	}
	if t.SSHKey.IsSet() && t.SSHKeyFile != "" {
		l.bad("DEPLOY_SSH_KEY", "keep one of them", "and DEPLOY_SSH_KEY_FILE are both set")
	}
	if t.KnownHosts != "" && chosen {
		l.bad("DEPLOY_KNOWN_HOSTS", "keep one of them", "and DEPLOY_KNOWN_HOSTS_FILE are both set")
	}
	if l.need&(Deploy|HostAccess) == 0 {
		return
	}
	t.KnownHostsFile = l.expand("DEPLOY_KNOWN_HOSTS_FILE", t.KnownHostsFile)
	switch {
	case t.SSHKey.IsSet():
		l.key(t, "DEPLOY_SSH_KEY", "", []byte(t.SSHKey.Reveal()))
	case t.SSHKeyFile != "":
		l.keyFile(t)
	case t.AgentSocket == "" && t.Host != "":
		l.report.Addf("config.missing", "environment", "set DEPLOY_SSH_KEY_FILE to a private key, or DEPLOY_SSH_KEY to its text", "there is no SSH key to log in with, and no SSH agent")
	}
	switch {
	case t.KnownHosts != "":
		l.knownHosts("DEPLOY_KNOWN_HOSTS", "", t.KnownHosts)
	case t.KnownHostsFile != "" && t.Host != "":
		const remedy = "give the host's key in DEPLOY_KNOWN_HOSTS or DEPLOY_KNOWN_HOSTS_FILE; ssh-keyscan prints it, compare it with the host's own"
		data, err := l.sources.ReadFile(t.KnownHostsFile)
		if err != nil {
			l.bad("DEPLOY_KNOWN_HOSTS_FILE", remedy, "names %s: %s", t.KnownHostsFile, reason(err))
			return
		}
		l.knownHosts("DEPLOY_KNOWN_HOSTS_FILE", t.KnownHostsFile, string(data))
	}
}

// expand puts the home folder in place of ~/ in front of a path.
func (l *loader) expand(key, file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	if !ok {
		return file
	}
	home := l.environ["HOME"]
	if home == "" {
		l.bad(key, "write the whole path", "begins with ~/, and there is no HOME")
		return file
	}
	return filepath.Join(home, rest)
}

func (l *loader) keyFile(t *Target) {
	const key = "DEPLOY_SSH_KEY_FILE"
	if data, ok := l.contents(key, t.SSHKeyFile, "the private key", ", or make the key with ssh-keygen", true); ok {
		l.key(t, key, " names "+t.SSHKeyFile+", which", data)
	}
}

// contents reads the file that a key names. what is the file in words, other
// what else to do than to correct its path. A private one must be closed to
// others.
func (l *loader) contents(key, file, what, other string, private bool) ([]byte, bool) {
	info, err := l.sources.Stat(file)
	if err != nil {
		l.bad(key, "correct the path"+other, "names %s: %s", file, reason(err))
		return nil, false
	}
	if !info.Mode().IsRegular() {
		l.bad(key, "name "+what+" itself", "names %s, which is not a file", file)
		return nil, false
	}
	if mode := info.Mode().Perm(); private && mode&0o077 != 0 {
		l.bad(key, "chmod 600 "+file, "names %s, which others can get at (mode %04o)", file, mode)
	}
	data, err := l.sources.ReadFile(file)
	if err != nil {
		l.bad(key, "make it readable for yourself", "names %s: %s", file, reason(err))
		return nil, false
	}
	return data, true
}

// key reports a private key that can't be used. which is put between the name
// of the key and what is wrong.
func (l *loader) key(t *Target, key, which string, data []byte) {
	add := func(err error, remedy, detail string) {
		l.report.Add(problem.Problem{Code: "config.ssh-key", Subject: l.where(key), Detail: key + which + " " + detail, Remedy: remedy, Err: err})
	}
	_, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		if !t.SSHPassphrase.IsSet() {
			add(err, "set DEPLOY_SSH_KEY_PASSPHRASE, or use a key without a passphrase", "has a passphrase, and DEPLOY_SSH_KEY_PASSPHRASE is not set")
			return
		}
		_, err = ssh.ParseRawPrivateKeyWithPassphrase(data, []byte(t.SSHPassphrase.Reveal()))
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

// SSH returns how to connect to the host.
func (t Target) SSH() host.Config {
	c := host.Config{Address: net.JoinHostPort(t.Host, strconv.Itoa(t.Port)), User: t.User, AgentSocket: t.AgentSocket}
	switch {
	case t.SSHKey.IsSet():
		c.Keys = []host.Key{{PEM: t.SSHKey, Name: "DEPLOY_SSH_KEY", Passphrase: t.SSHPassphrase}}
	case t.SSHKeyFile != "":
		c.Keys = []host.Key{{Path: t.SSHKeyFile, Passphrase: t.SSHPassphrase}}
	}
	if t.KnownHosts != "" {
		c.KnownHosts = []host.KnownHosts{{Text: t.KnownHosts, Name: "DEPLOY_KNOWN_HOSTS"}}
	} else {
		c.KnownHosts = []host.KnownHosts{{Path: t.KnownHostsFile}}
	}
	if t.Jump != nil {
		jump := c
		jump.Address = net.JoinHostPort(t.Jump.Host, strconv.Itoa(t.Jump.Port))
		if t.Jump.User != "" {
			jump.User = t.Jump.User
		}
		c.Jump = &jump
	}
	return c
}
