package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type showOptions struct {
	*globalFlags
	jsonFlag
}

// newShow returns the command that shows one release.
func newShow(c *cli, global *globalFlags) *cobra.Command {
	o := showOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "show VERSION", Short: "one release with everything in it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.show(cmd.Context(), o, args[0]) },
	}
	o.jsonFlag.register(cmd)
	return cmd
}

func (c *cli) show(ctx context.Context, o showOptions, version string) error {
	record, err := c.recordOf(ctx, o.globalFlags, version)
	if err != nil {
		return err
	}
	if o.json {
		return c.printJSON(record)
	}
	_, err = io.WriteString(c.out, renderRecord(record)+"\n"+renderTimes(record.Steps))
	return err
}

// recordOf returns the record of a version from the host.
func (c *cli) recordOf(ctx context.Context, global *globalFlags, version string) (record release.Record, err error) {
	err = c.onHost(ctx, global, func(h *host.Host, target deploy.Target) error {
		record, err = deploy.Show(ctx, h, target, version)
		if errors.Is(err, deploy.ErrNoRelease) {
			return problem.Report{{Code: "host.version-unknown", Subject: "version " + version, Detail: "was never live on this host",
				Remedy: "pipeline history lists the versions that were", Err: err}}.Err()
		}
		return err
	})
	return record, err
}

// renderTimes returns a table of how long the steps of a release took.
func renderTimes(steps []release.Step) string {
	var b strings.Builder
	table := newTable(&b)
	for _, step := range steps {
		fmt.Fprintf(table, "%s\t%.1fs\n", step.Name, step.Seconds)
	}
	_ = table.Flush()
	return b.String()
}
