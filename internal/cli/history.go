package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type historyOptions struct {
	*globalFlags
	jsonFlag
}

// newHistory returns the command that lists the releases of the host.
func newHistory(c *cli, global *globalFlags) *cobra.Command {
	o := historyOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "history", Short: "the releases of the host, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.history(cmd.Context(), o) },
	}
	o.jsonFlag.register(cmd)
	return cmd
}

func (c *cli) history(ctx context.Context, o historyOptions) error {
	return c.onHost(ctx, o.globalFlags, func(h *host.Host, target deploy.Target) error {
		records, unreadable, err := deploy.History(ctx, h, target)
		if err != nil {
			return err
		}
		if len(unreadable) > 0 {
			c.log.Warn().Strs("files", unreadable).Msg("left out, because these files on the host can't be read")
		}
		if o.json {
			return c.printJSON(records)
		}
		_, err = io.WriteString(c.out, renderHistory(records))
		return err
	})
}

// renderHistory returns a table of releases.
func renderHistory(records []release.Record) string {
	var b strings.Builder
	table := newTable(&b)
	fmt.Fprintln(table, "VERSION\tLIVE SINCE (UTC)\tDOWNTIME\tDIGEST\tREPLACED")
	for _, record := range records {
		fmt.Fprintf(table, "%s\t%s\t%.1fs\t%s\t%s\n", record.Version, record.FinishedAt.UTC().Format(time.DateTime),
			record.Downtime, short(record.Image.Digest), record.Previous)
	}
	_ = table.Flush()
	return b.String()
}
