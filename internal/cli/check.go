package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// newCheck returns the command that finds every problem before a release.
func newCheck(c *cli, global *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "find every problem before a release, and change nothing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.check(cmd.Context(), global) },
	}
}

func (c *cli) check(ctx context.Context, global *globalFlags) error {
	need := c.needs(global)
	in, report := c.readInputs(ctx, global, need)
	r, err := openRegistries(ctx, in, need)
	if err != nil {
		return err
	}
	defer r.close()
	found, err := c.probe(ctx, in, r.target, need, report)
	if found.state != nil {
		for _, warning := range append(hostWarnings(*found.state), found.state.Unsure(in.config.Target)...) {
			c.log.Warn().Msg(warning)
		}
		c.warnOfSetup(ctx, in)
	}
	if in.config.Lock.HasDebianWkhtmltopdf() && need&config.Build != 0 {
		c.log.Warn().Str("fix", "WKHTMLTOPDF_URL=patched").Msg("the image has Debian's wkhtmltopdf, which is not patched: PDFs get neither headers nor footers")
	}
	c.warnOfCertificate(in.config)
	for _, name := range in.config.Guessable() {
		c.log.Warn().Str("fix", "take 16 or more characters by chance").Msg(name + " may be a word, which others can guess; it is masked only where it stands for itself")
	}
	if err != nil {
		return err
	}
	c.log.Info().Msg("no problem found")
	return nil
}
