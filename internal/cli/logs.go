package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

type logsOptions struct {
	*globalFlags
	reading compose.Reading
}

// newLogs returns the command that prints what services of the live release log.
func newLogs(c *cli, global *globalFlags) *cobra.Command {
	o := logsOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "logs [SERVICE…]", Short: "what services of the live release log; all of them unless some are named",
		Long: "Prints what services of the live release log, or all of them.\n\nCtrl-C ends --follow with exit code 130.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.logs(cmd.Context(), o, args) },
	}
	cmd.Flags().BoolVar(&o.reading.Follow, "follow", false, "go on with what is logged from now on")
	cmd.Flags().StringVar(&o.reading.Tail, "tail", "100", "how many of the last lines of each container, or all")
	cmd.Flags().StringVar(&o.reading.Since, "since", "", "from this time or age on, for instance 2024-03-20T12:00:00Z or 10m")
	return cmd
}

func (c *cli) logs(ctx context.Context, o logsOptions, services []string) error {
	if _, err := strconv.ParseUint(o.reading.Tail, 10, 31); err != nil && o.reading.Tail != "all" {
		return fmt.Errorf("%w: --tail takes a number of lines or all, not %q", errUsage, o.reading.Tail)
	}
	return c.onLive(ctx, o.globalFlags, func(h *host.Host, live deploy.Live) error {
		if report := unknownServices(live, services); len(report) > 0 {
			return report.Err()
		}
		err := attached(ctx, h, live.Project.Read(o.reading, services...), host.Options{Stdout: c.out, Stderr: c.err})
		if ctx.Err() != nil {
			return exitError(ExitInterrupted)
		}
		return err
	})
}

// unknownServices reports the services that the project has no container of.
func unknownServices(live deploy.Live, services []string) problem.Report {
	var report problem.Report
	var known []string
	for _, container := range live.Containers {
		if !slices.Contains(known, container.Service) {
			known = append(known, container.Service)
		}
	}
	slices.Sort(known)
	for _, service := range services {
		if slices.Contains(known, service) {
			continue
		}
		remedy := "there are " + strings.Join(known, ", ")
		if near := problem.Nearest(service, known); near != "" {
			remedy = "write " + near + "; " + remedy
		}
		report.Addf("host.service-unknown", "service "+service, remedy, "is not one of project %s", live.Project.Name)
	}
	return report
}
