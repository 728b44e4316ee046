package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

// learnHostKeys asks the host for its keys, shows them, and takes those that the user
// has compared with the host's own.
func (c *cli) learnHostKeys(ctx context.Context, o initOptions, s *start) error {
	address := s.value("DEPLOY_HOST")
	if text := s.value("DEPLOY_KNOWN_HOSTS"); text != "" {
		return haveKeys("DEPLOY_KNOWN_HOSTS", text, o.hostKeys)
	}
	if exists(starter.KnownHostsFile) {
		return haveKeys(starter.KnownHostsFile, readText(starter.KnownHostsFile), o.hostKeys)
	}
	if address == "" && len(o.hostKeys) > 0 {
		return problem.Report{{Code: "init.host-key", Subject: "--host-key", Detail: "there is no host that could have it", Remedy: "give --host, or leave --host-key out"}}.Err()
	}
	if address == "" || exists(o.envFile) && len(o.hostKeys) == 0 {
		return nil
	}
	if s.value("DEPLOY_JUMP_HOST") != "" {
		c.log.Info().Msg("keys of a host behind a jump host are not asked for: put both hosts' into DEPLOY_KNOWN_HOSTS_FILE")
		return nil
	}
	// A port that is none has been reported.
	port := 0
	_, _ = fmt.Sscan(s.value("DEPLOY_PORT"), &port)
	shown, err := host.ShowKeys(ctx, host.Config{Address: address, Port: port, Log: c.log})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && len(o.hostKeys) > 0:
		return host.Problems(err).Err()
	case err != nil:
		for _, p := range host.Problems(err) {
			c.log.Warn().Str("fix", p.Remedy).Msg("the keys of the host are not known: " + p.Error())
		}
		c.log.Warn().Msg("run init again with --host-key when the host is there, or add its key to ~/.ssh/known_hosts")
		return nil
	}
	if len(o.hostKeys) > 0 {
		return s.takeKeys(address, shown, o.hostKeys)
	}
	fmt.Fprintf(c.err, "\n%s shows these keys. Another machine could answer in its place, so compare them:\nlog in on the host's own console (or your provider's) and run\n\n    for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done\n\n", address)
	for _, key := range shown {
		fmt.Fprintf(c.err, "    %s\n    %s\n\n", key.Line, key.Fingerprint)
	}
	if c.terminal {
		same, err := c.confirm(ctx, "Are they the same there? They are written to "+starter.KnownHostsFile+" only then.")
		if err != nil {
			return err
		}
		if same {
			for _, key := range shown {
				s.hostKeys = append(s.hostKeys, key.Line)
			}
			return nil
		}
	}
	fmt.Fprintf(c.err, "They are left out. Where they are the same: init --host-key %s\n\n", shown[0].Fingerprint)
	return nil
}

// haveKeys looks whether lines that are there, and are left as they are, have the keys
// with the fingerprints. where is what has the lines.
func haveKeys(where, lines string, fingerprints []string) error {
	var have []string
	for rest := []byte(lines); ; {
		marker, _, key, _, more, err := ssh.ParseKnownHosts(rest)
		if err != nil {
			// The end, or a line that check names.
			break
		}
		if rest = more; marker == "" {
			have = append(have, ssh.FingerprintSHA256(key))
		}
	}
	var report problem.Report
	for _, fingerprint := range fingerprints {
		if !slices.Contains(have, fingerprint) {
			report.Addf("init.host-key", "--host-key "+fingerprint, "add the host's line to it, or take it away and run init again", "%s is there already, without that key, and is left as it is", where)
		}
	}
	return report.Err()
}

// takeKeys takes the keys with the fingerprints. Each has to be there: who has
// compared one that the host does not show talks to another machine.
func (s *start) takeKeys(address string, shown []host.ShownKey, fingerprints []string) error {
	var have []string
	for _, key := range shown {
		have = append(have, key.Fingerprint)
		if slices.Contains(fingerprints, key.Fingerprint) {
			s.hostKeys = append(s.hostKeys, key.Line)
		}
	}
	var report problem.Report
	for _, fingerprint := range fingerprints {
		if !slices.Contains(have, fingerprint) {
			report.Addf("init.host-key", "--host-key "+fingerprint, "compare once more on the host's own console; if they differ there too, another machine answers",
				"%s shows no such key, but %s", address, strings.Join(have, ", "))
		}
	}
	return report.Err()
}
