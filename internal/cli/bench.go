package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// newBench returns the command that runs a bench command in the live backend.
func newBench(c *cli, global *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "bench -- ARG…", Short: "run a bench command in the live backend; its exit code is this program's",
		Long: "Runs a bench command in the backend of the live release and ends with its exit code.\n\n" +
			"What is piped into this program is the command's input; give it secrets there and not as arguments, which others on the host can see.\n" +
			"Ctrl-C ends this program with exit code 130; the command itself goes on in its container.",
		Example: "  pipeline bench -- --site erp.example.com list-apps",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.bench(cmd.Context(), global, args) },
	}
}

func (c *cli) bench(ctx context.Context, global *globalFlags, args []string) error {
	return c.onBackend(ctx, global, func(h *host.Host, backend compose.Container) error {
		err := attached(ctx, h, backend.Exec(append([]string{"bench"}, args...)...), host.Options{Stdin: c.piped(), Stdout: c.out, Stderr: c.err})
		if ctx.Err() != nil {
			// Docker passes no signals on to what it executes.
			c.log.Warn().Str("container", backend.Name).Msg("interrupted; if the command had begun, it goes on in its container")
			return exitError(ExitInterrupted)
		}
		return err
	})
}
