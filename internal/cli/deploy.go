package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// deployer deploys with progress in the log.
func (s *streams) deployer(c *checked) deploy.Deployer {
	d := deploy.Deployer{
		Dial: func(ctx context.Context) (deploy.Host, error) { return s.dial(ctx, c.config) },
		Observe: func(e deploy.Event) {
			switch e.Kind {
			case deploy.StepBegan:
				s.log.Debug().Msg(e.Step + " began")
			case deploy.Output:
				s.log.Debug().Msg(e.Step + ": " + e.Text)
			case deploy.StepEnded:
				event, what := s.log.Info(), e.Step
				if e.Exit != 0 {
					event, what = s.log.Error().Int("exit", e.Exit), e.Step+" failed"
				}
				event.Str("took", fmt.Sprintf("%.1fs", e.Seconds)).Msg(what)
			case deploy.UndoEnded:
				s.log.Warn().Int("exit", e.Exit).Msg(e.Step + " undone")
			case deploy.Disconnected:
				s.log.Warn().Str("reason", e.Text).Msg("lost the connection; the host carries on by itself")
			case deploy.Reconnected:
				s.log.Info().Msg("connected again")
			case deploy.Interrupted:
				s.log.Warn().Msg("the run's process is gone; the host goes on with it by itself within a minute")
			case deploy.Stopping:
				s.log.Warn().Msg("stopping: the host puts everything back")
			case deploy.CarryingOn:
				s.log.Warn().Msg("too late to stop: the host carries on by itself")
			}
		},
	}
	if c.config.Registry.Host == "" && c.embedded != nil {
		d.Registry = c.embedded.Dial
	}
	return d
}

// deploy is the command: it puts a version live that was pushed before.
func (s *streams) deploy(ctx context.Context, f *flags, version string) error {
	f.keys["DE_SITE_VERSION"] = &version
	p, report := s.prepare(ctx, f, config.Deploy)
	if err := report.Err(); err != nil {
		return err
	}
	c := &checked{prepared: p}
	defer c.close()
	if err := c.openStores(ctx, config.Deploy); err != nil {
		return err
	}
	image, _, err := registry.Find(ctx, c.target, version)
	if err != nil {
		return err
	}
	lock, err := registry.LockOf(ctx, c.target, version)
	if err != nil {
		return err
	}
	if report := s.inspect(ctx, c); len(report) > 0 {
		return report.Err()
	}
	plan, report := deploy.MakePlan(ctx, *c.state, c.deployTarget(), lock)
	if err := report.Err(); err != nil {
		return err
	}
	shown := &planned{checked: c, build: &build{lock: lock}, plan: &plan}
	fmt.Fprint(s.err, shown.render())
	if err := s.approve(f, "Deploy "+version+"?"); err != nil {
		return err
	}
	record, err := s.deployer(c).Run(ctx, plan, image)
	if err != nil {
		return err
	}
	s.summarize(shown.summary(record))
	fmt.Fprintln(s.out, record.Image)
	return nil
}

// onHost connects to the host for the commands that only show what is there, or
// run something in it. It asks for no more than that takes.
func (s *streams) onHost(ctx context.Context, f *flags, show func(h *host.Host, t deploy.Target) error) error {
	p, report := s.prepare(ctx, f, config.HostAccess)
	if err := report.Err(); err != nil {
		return err
	}
	h, err := s.dial(ctx, p.config)
	if err != nil {
		return host.Problems(err).Err()
	}
	defer h.Close()
	return show(h, p.deployTarget())
}

// printJSON is a result for programs.
func (s *streams) printJSON(value any) error {
	encoder := json.NewEncoder(s.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func (s *streams) status(ctx context.Context, f *flags) error {
	return s.onHost(ctx, f, func(h *host.Host, t deploy.Target) error {
		state, err := deploy.Inspect(ctx, h, t)
		if err != nil {
			return err
		}
		if f.json {
			return s.printJSON(state)
		}
		s.printState(state)
		return nil
	})
}

func (s *streams) printState(state deploy.State) {
	if state.Docker == "" {
		fmt.Fprintf(s.out, "Docker does not answer on the host: %s\n", state.DockerError)
		return
	}
	if state.Current == nil {
		fmt.Fprintln(s.out, "No release is live.")
	} else {
		s.printRecord(*state.Current)
	}
	if len(state.Containers) > 0 {
		fmt.Fprintln(s.out)
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		for _, container := range state.Containers {
			mark := "✓"
			switch {
			case container.State == "running" && container.Health == "starting":
				mark = "…"
			case !container.OK():
				mark = "✗"
			}
			fmt.Fprintf(table, "%s %s\t%s\t%s\n", mark, container.Service, container.State, container.Health)
		}
		_ = table.Flush()
	}
	fmt.Fprintln(s.out)
	if state.Lock != nil {
		fmt.Fprintf(s.out, "The deploy lock is held by run %s (%s) since %s.\n", state.Lock.Run, state.Lock.Status, state.Lock.Since.UTC().Format(time.RFC3339))
	} else {
		fmt.Fprintln(s.out, "The deploy lock is free.")
	}
	if run := state.LastRun; run != nil {
		fmt.Fprintf(s.out, "Last run: %s, %s", run.ID, run.Status)
		switch {
		case run.Undoing:
			fmt.Fprintf(s.out, " (putting back: %s)", run.Step)
		case run.Step != "":
			fmt.Fprintf(s.out, " (at %s)", run.Step)
		}
		fmt.Fprintln(s.out, ".")
		switch run.Status {
		case deploy.RunInterrupted:
			fmt.Fprintln(s.out, "Its process is gone; the host goes on with it within a minute. pipeline unlock --resume or --undo does so at once.")
		case deploy.RunHeld:
			fmt.Fprintln(s.out, "It waits for a person: when the cause is gone, pipeline unlock --undo puts everything back, and pipeline unlock --resume carries on.")
		}
	}
	if state.NoCron {
		fmt.Fprintln(s.out, "There is no crontab on the host: a run does not go on by itself after a restart.")
	}
}

// printRecord shows a release as a table.
func (s *streams) printRecord(record release.Record) {
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "version\t%s\n", record.Version)
	fmt.Fprintf(table, "image\t%s\n", record.Image)
	if !record.FinishedAt.IsZero() {
		fmt.Fprintf(table, "live since\t%s\n", record.FinishedAt.UTC().Format(time.RFC3339))
	}
	if record.Previous != "" {
		fmt.Fprintf(table, "replaced\t%s, with a downtime of %.1f s\n", record.Previous, record.Downtime)
	}
	fmt.Fprintf(table, "sites\t%s\n", strings.Join(record.Sites, ", "))
	fmt.Fprintf(table, "runtimes\tPython %s, Node %s\n", record.Lock.Python, record.Lock.Node)
	for _, app := range record.Lock.Apps {
		fmt.Fprintf(table, "app %s\t%s\n", app.Name, at(&app))
	}
	_ = table.Flush()
}

func (s *streams) history(ctx context.Context, f *flags) error {
	return s.onHost(ctx, f, func(h *host.Host, t deploy.Target) error {
		records, err := deploy.History(ctx, h, t)
		if err != nil {
			return err
		}
		if f.json {
			return s.printJSON(records)
		}
		table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "VERSION\tLIVE SINCE (UTC)\tDOWNTIME\tDIGEST\tREPLACED")
		for _, record := range records {
			fmt.Fprintf(table, "%s\t%s\t%.1fs\t%s\t%s\n", record.Version, record.FinishedAt.UTC().Format(time.DateTime),
				record.Downtime, short(record.Image.Digest), record.Previous)
		}
		return table.Flush()
	})
}

func (s *streams) show(ctx context.Context, f *flags, version string) error {
	record, err := s.recordOf(ctx, f, version)
	if err != nil {
		return err
	}
	if f.json {
		return s.printJSON(record)
	}
	s.printRecord(record)
	fmt.Fprintln(s.out)
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, step := range record.Steps {
		fmt.Fprintf(table, "%s\t%.1fs\n", step.Name, step.Seconds)
	}
	return table.Flush()
}

// recordOf gives the record of a version from the host.
func (s *streams) recordOf(ctx context.Context, f *flags, version string) (record release.Record, err error) {
	err = s.onHost(ctx, f, func(h *host.Host, t deploy.Target) error {
		record, err = deploy.Show(ctx, h, t, version)
		if errors.Is(err, deploy.ErrNoRelease) {
			return problem.Report{{Code: "host.version-unknown", Subject: "version " + version, Detail: "was never live on this host",
				Remedy: "pipeline history lists the versions that were", Err: err}}.Err()
		}
		return err
	})
	return record, err
}
