package host

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Config says which host to connect to, as whom, and how to know it.
type Config struct {
	// Address is "name" or "name:port".
	Address string
	// Port is for an Address without one. Zero means 22.
	Port int
	// User is the login name.
	User string
	// Keys are offered in this order, before those of the agent.
	Keys []Key
	// AgentSocket is the unix socket of an SSH agent; empty for none. An
	// agent that does not answer is no error while there are other keys.
	AgentSocket string
	// KnownHosts are the only host keys that are accepted. There is no way
	// to connect to a host that is not among them.
	KnownHosts []KnownHosts
	// Jump is the host to go through, if there is one. It is checked in the
	// same way as the host itself.
	Jump *Config
	// HandshakeTimeout bounds the TCP connect, and again everything from
	// there until the login has been accepted. Zero means 15 seconds.
	HandshakeTimeout time.Duration
	// RetryTimeout is for how long a server that hangs up before the login is
	// asked again. Zero means 8 seconds.
	RetryTimeout time.Duration
	// KeepAlive is how long the connection may be silent before the host is
	// asked whether it is there, and how long it then has for an answer
	// before the connection is closed. Zero means 10 seconds.
	KeepAlive time.Duration
	// Log gets what happens to the connection.
	Log zerolog.Logger
}

// Key is a private key, in a file or given as text.
type Key struct {
	// Path is the file with the key, in PEM or OpenSSH's format.
	Path string
	// PEM is the key itself; it is used where Path is empty.
	PEM secret.Secret
	// Name is how problems call a key given as PEM, for instance the name of
	// the variable that it came from.
	Name string
	// Passphrase opens an encrypted key.
	Passphrase secret.Secret
}

func (k Key) place() string { return place(k.Path, k.Name, "private key") }

// KnownHosts is a source of host keys in the format of ssh_known_hosts: a
// file, or its content.
type KnownHosts struct {
	// Path is the file.
	Path string
	// Text is the content itself; it is used where Path is empty.
	Text string
	// Name is how problems call a source given as Text.
	Name string
}

func (k KnownHosts) place() string { return place(k.Path, k.Name, "known hosts") }

func place(path, name, fallback string) string {
	switch {
	case path != "":
		return path
	case name != "":
		return name
	}
	return fallback
}

const (
	defaultHandshakeTimeout = 15 * time.Second
	defaultRetryTimeout     = 8 * time.Second
	defaultKeepAlive        = 10 * time.Second
	defaultPort             = 22
)

// normalize fills in the defaults and returns the address as "name:port", the
// name in lower case as known_hosts has it.
func (c Config) normalize(report *problem.Report) Config {
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = defaultHandshakeTimeout
	}
	if c.RetryTimeout <= 0 {
		c.RetryTimeout = defaultRetryTimeout
	}
	if c.KeepAlive <= 0 {
		c.KeepAlive = defaultKeepAlive
	}
	if c.Port == 0 {
		c.Port = defaultPort
	}
	name, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		name, port = strings.Trim(c.Address, "[]"), strconv.Itoa(c.Port)
	}
	number, err := strconv.Atoi(port)
	switch {
	case c.Address == "":
		report.Addf("host.address", "host", "set the address of the host, for instance erp.example.com:22", "no address is set")
	case name == "" || err != nil || number < 1 || number > 65535:
		report.Addf("host.address", c.Address, "write it as name:port, for instance erp.example.com:22", "is not an address of a host")
	}
	if c.User == "" {
		report.Addf("host.user", "host "+c.Address, "set the user to log in as", "no user is set")
	}
	c.Address = net.JoinHostPort(strings.ToLower(name), port)
	return c
}
