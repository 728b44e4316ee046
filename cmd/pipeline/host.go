package main

import (
	"context"
	"net"
	"strconv"

	"github.com/desiredeffect/erpnext-pipeline/ci/config"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// dial connects to the host.
func (s *streams) dial(ctx context.Context, target config.Target) (*host.Host, error) {
	c := host.Config{
		Address: net.JoinHostPort(target.Host, strconv.Itoa(target.Port)), User: target.User,
		AgentSocket: target.AgentSocket, Log: s.log,
	}
	switch {
	case target.SSHKey.IsSet():
		c.Keys = []host.Key{{PEM: target.SSHKey, Name: "DEPLOY_SSH_KEY", Passphrase: target.SSHPassphrase}}
	case target.SSHKeyFile != "":
		c.Keys = []host.Key{{Path: target.SSHKeyFile, Passphrase: target.SSHPassphrase}}
	}
	if target.KnownHosts != "" {
		c.KnownHosts = []host.KnownHosts{{Text: target.KnownHosts, Name: "DEPLOY_KNOWN_HOSTS"}}
	} else {
		c.KnownHosts = []host.KnownHosts{{Path: target.KnownHostsFile}}
	}
	if target.Jump != nil {
		jump := c
		jump.Address = net.JoinHostPort(target.Jump.Host, strconv.Itoa(target.Jump.Port))
		if target.Jump.User != "" {
			jump.User = target.Jump.User
		}
		c.Jump = &jump
	}
	return host.Dial(ctx, c)
}
