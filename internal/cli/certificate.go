package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// newCertificate returns the command that puts a renewed certificate live, and nothing
// else.
func newCertificate(c *cli, global *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "certificate", Short: "put the certificate of TLS=files live, without a release", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.certificate(cmd.Context(), global) },
	}
}

func (c *cli) certificate(ctx context.Context, global *globalFlags) error {
	in, report := c.readInputs(ctx, global, config.HostAccess|config.Certificate)
	if err := report.Err(); err != nil {
		return err
	}
	c.warnOfCertificate(in.config)
	h, err := c.dial(ctx, in.config)
	if err != nil {
		return host.Problems(err).Err()
	}
	defer h.Close()
	said, err := deploy.PutCertificate(ctx, h, in.target)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, said)
	return nil
}

// warnOfCertificate says when the certificate that was given ends, if that is soon.
func (c *cli) warnOfCertificate(cfg config.Config) {
	if ends, soon := cfg.CertificateEnds(time.Now()); soon {
		c.log.Warn().Str("fix", "give its successor").Msg("the certificate ends on " + ends.UTC().Format(time.DateOnly))
	}
}
