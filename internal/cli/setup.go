package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/setup"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

type setupOptions struct {
	*globalFlags
	yesFlag
	dryRun bool
	// as is who logs in, and authorize a file with the public key of who deploys.
	as, authorize string
	// docker, repository and repositoryKey say where Docker comes from.
	docker, repository, repositoryKey string
}

// newSetup returns the command that makes a bare server ready.
func newSetup(c *cli, global *globalFlags) *cobra.Command {
	o := setupOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "make a bare server ready: Docker, the user who deploys, its folder, and what a restart takes",
		Long: "Logs in to DEPLOY_HOST as root, or as a user whom sudo makes root without a password, looks at what is there, and does what is missing: " +
			"Docker with compose, limits for logs, DEPLOY_USER with its key, DEPLOY_DIR, the start with the host, going on with a run after a restart, swap where memory is short, and rules where a firewall is active. " +
			"What is done already is left as it is, so it can be called again at any time. " +
			"It knows Debian 12 and 13, Ubuntu 22.04 and 24.04.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.setup(cmd.Context(), o) },
	}
	o.yesFlag.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and change nothing")
	flags.StringVar(&o.as, "as", "root", "user to log in as for this: root, or one whom sudo makes root without a password")
	flags.StringVar(&o.authorize, "authorize", "", "file with the public key that lets DEPLOY_USER in; without it that of DEPLOY_SSH_KEY or DEPLOY_SSH_KEY_FILE, or the only one of the SSH agent")
	flags.StringVar(&o.docker, "docker", "", "where Docker comes from if there is none: distribution or docker (its makers); without it the distribution's where that has compose v2")
	flags.StringVar(&o.repository, "docker-repository", "", "address of the packages of Docker's makers for the host's system, such as a mirror of https://download.docker.com/linux/debian")
	flags.StringVar(&o.repositoryKey, "docker-key", "", "fingerprint of the OpenPGP key at that address, if it is not the one of Docker's makers")
	return cmd
}

func (o setupOptions) validate() error {
	switch {
	case o.docker != "" && o.docker != setup.FromDistribution && o.docker != setup.FromDocker:
		return fmt.Errorf("%w: --docker takes %s or %s, not %q", errUsage, setup.FromDistribution, setup.FromDocker, o.docker)
	case o.repository == "" && o.repositoryKey != "":
		return fmt.Errorf("%w: --docker-key is about --docker-repository", errUsage)
	case o.repository != "" && (!strings.HasPrefix(o.repository, "https://") && !strings.HasPrefix(o.repository, "http://") || strings.ContainsAny(o.repository, " \t\n\\\"'@")):
		return fmt.Errorf("%w: --docker-repository takes an address such as https://mirror.example.com/docker/linux/debian, without a login", errUsage)
	case o.as == "":
		return fmt.Errorf("%w: --as takes the name of a user", errUsage)
	}
	return nil
}

func (c *cli) setup(ctx context.Context, o setupOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	in, report := c.readInputs(ctx, o.globalFlags, config.HostAccess)
	if err := report.Err(); err != nil {
		return err
	}
	wanted := setupFor(in)
	wanted.Docker, wanted.Repository, wanted.RepositoryKey = o.docker, o.repository, o.repositoryKey
	key, err := c.keyOfUser(ctx, in.config, o.authorize)
	if err != nil {
		return err
	}
	wanted.Key = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " pipeline"
	wanted.Fingerprint = key.Type() + " " + ssh.FingerprintSHA256(key)

	login := in.config
	login.Host.User = o.as
	h, err := c.dial(ctx, login)
	if err != nil {
		return ifRefused(host.Problems(err), "--as NAME logs in as another user whom sudo makes root").Err()
	}
	defer h.Close()
	plan, report, err := setup.MakePlan(ctx, h, wanted)
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return err
	}
	text := renderSetup(in.config.Host.Address, o.as, plan)
	if o.dryRun {
		_, err := io.WriteString(c.out, text)
		return err
	}
	fmt.Fprint(c.err, text)
	if len(plan.Pending()) > 0 {
		if err := c.approve(ctx, o.yesFlag, "Set up "+in.config.Host.Address+"?"); err != nil {
			return err
		}
		if err := c.carryOutSetup(ctx, h, plan); err != nil {
			return err
		}
	}
	return c.proveSetup(ctx, in)
}

// setupFor returns what the configuration wants a host to be ready for.
func setupFor(in inputs) setup.Options {
	// Without https as well, for which a server is made ready once.
	https := 443
	if in.target.TLS.Ends() {
		https = in.target.TLS.Port
	}
	return setup.Options{User: in.config.Host.User, Dir: in.target.Dir, HTTPPort: in.target.HTTPPort, HTTPSPort: https}
}

// carryOutSetup does what a plan says, and logs each step.
func (c *cli) carryOutSetup(ctx context.Context, h *host.Host, plan setup.Plan) error {
	reader, output := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			c.log.Debug().Msg(lines.Text())
		}
		_, _ = io.Copy(io.Discard, reader)
	}()
	began := time.Now()
	c.log.Info().Msg(plan.Pending()[0].Step + ": " + plan.Pending()[0].Does)
	i := 0
	err := plan.Run(ctx, h, output, func(step string) {
		c.log.Info().Str("took", seconds(time.Since(began))).Msg(step + " done")
		began = time.Now()
		if i++; i < len(plan.Pending()) {
			c.log.Info().Msg(plan.Pending()[i].Step + ": " + plan.Pending()[i].Does)
		}
	})
	_ = output.Close()
	<-read
	return err
}

// proveSetup logs in as the user who deploys, as a release will, and looks whether it
// finds everything.
func (c *cli) proveSetup(ctx context.Context, in inputs) error {
	state, report := c.inspect(ctx, in)
	if state != nil {
		report = state.NotReady(in.target)
	}
	if err := report.Err(); err != nil {
		return &setup.FailedError{Step: "log in as " + in.config.Host.User, Err: err}
	}
	c.log.Info().Str("docker", state.Docker).Str("compose", state.Compose).Msg(in.config.Host.User + " can release there; next: pipeline check, then pipeline release")
	return nil
}

// keyOfUser returns the public key that is to let the user who deploys in.
func (c *cli) keyOfUser(ctx context.Context, cfg config.Config, file string) (ssh.PublicKey, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, problem.Report{{Code: "setup.authorize", Subject: file, Detail: "is not a public key of SSH", Remedy: "give the file that ssh-keygen wrote beside the private key, with .pub at its end", Err: err}}.Err()
		}
		return key, nil
	}
	keys, err := host.LoginKeys(ctx, sshConfig(cfg, c.log))
	if err != nil {
		return nil, host.Problems(err).Err()
	}
	if len(keys) != 1 {
		names := make([]string, len(keys))
		for i, key := range keys {
			names[i] = key.Type() + " " + ssh.FingerprintSHA256(key)
		}
		return nil, problem.Report{{Code: "setup.keys", Subject: "SSH agent", Detail: fmt.Sprintf("has %d keys, and one is to let %s in: %s", len(keys), cfg.Host.User, strings.Join(names, ", ")),
			Remedy: "name it with --authorize FILE.pub, or set DEPLOY_SSH_KEY_FILE"}}.Err()
	}
	return keys[0], nil
}

// renderSetup returns what setup found and does.
func renderSetup(address, as string, plan setup.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s (%s), as %s:\n\n", address, plan.Facts.System(), as)
	width := 0
	for _, change := range plan.Changes {
		width = max(width, len(change.Step))
	}
	for _, change := range plan.Changes {
		mark, text := "✓", change.Has
		switch {
		case change.Does != "":
			mark, text = "+", change.Missing+"\n"+strings.Repeat(" ", width+6)+"→ "+change.Does
		case change.Missing != "":
			mark, text = "!", change.Missing+"\n"+strings.Repeat(" ", width+6)+"fix: "+change.Remedy
		}
		fmt.Fprintf(&b, "  %s %-*s  %s\n", mark, width, change.Step, text)
	}
	if pending := plan.Pending(); len(pending) == 0 {
		b.WriteString("\nThere is nothing to do.\n\n")
	} else {
		names := make([]string, len(pending))
		for i, change := range pending {
			names[i] = change.Step
		}
		fmt.Fprintf(&b, "\nTo do: %s.\n\n", strings.Join(names, ", "))
	}
	return b.String()
}

// ifRefused adds to the remedy of a login that was refused.
func ifRefused(report problem.Report, remedy string) problem.Report {
	report = slices.Clone(report)
	for i := range report {
		if report[i].Code == "host.auth-refused" {
			report[i].Remedy += "; " + remedy
		}
	}
	return report
}

// warnOfSetup logs what the host lacks that no release needs and an operator wants.
func (c *cli) warnOfSetup(ctx context.Context, in inputs) {
	h, err := c.dial(ctx, in.config)
	if err != nil {
		c.log.Debug().Err(err).Msg("the host was not looked at again")
		return
	}
	defer h.Close()
	report, err := setup.Warnings(ctx, h, setupFor(in))
	if err != nil {
		c.log.Debug().Err(err).Msg("the host was not looked at again")
		return
	}
	for _, p := range report {
		warn(c.log, p)
	}
}
