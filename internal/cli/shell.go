package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// newShell returns the command that opens a shell in the live backend.
func newShell(c *cli, global *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "shell", Short: "open a shell in the live backend; without a terminal it reads commands from standard input", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.shell(cmd.Context(), global) },
	}
}

func (c *cli) shell(ctx context.Context, global *globalFlags) error {
	const program = "bash"
	return c.onBackend(ctx, global, func(h *host.Host, backend compose.Container) error {
		keyboard := terminalOf(c.in)
		if keyboard == nil || c.screen == nil {
			err := attached(ctx, h, backend.Exec(program), host.Options{Stdin: c.piped(), Stdout: c.out, Stderr: c.err})
			if ctx.Err() != nil {
				return exitError(ExitInterrupted)
			}
			return err
		}
		return c.onTerminal(keyboard, func(terminal *host.Terminal) error {
			return attached(ctx, h, backend.ExecOnTerminal(terminal.Type, program),
				host.Options{Stdin: keyboard, Stdout: prompt{c.redactOut}, Terminal: terminal})
		})
	})
}
