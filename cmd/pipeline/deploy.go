package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/config"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy2"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// hostProblems gives what is wrong with the way to the host as problems.
func hostProblems(err error) problem.Report { return host.Problems(err) }

// deployTarget is the target of the configuration.
func (c *checked) deployTarget() deploy.Target {
	cfg := c.config
	t := deploy.Target{
		Dir: cfg.Target.Dir, Project: cfg.Target.Project, Files: c.files, Sites: cfg.Target.Sites,
		Variables: map[string]secret.Secret{}, HTTPPort: cfg.Compose.HTTPPort,
		Source: deploy.Source{Host: cfg.Registry.Host, Username: cfg.Registry.Username, Password: cfg.Registry.Password},
	}
	if c.embedded != nil {
		t.Source = deploy.Source{
			Prefix: net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Target.PullPort)), Dial: c.embedded.Dial,
		}
	}
	if set, _ := compose.Load(context.Background(), cfg.Target.Project, c.files, nil); set != nil {
		for _, name := range set.Variables {
			if value, known := cfg.Secret(name); known {
				t.Variables[name] = value
			}
		}
	}
	return t
}

// deployer deploys with progress in the log.
func (s *streams) deployer(target config.Target) deploy.Deployer {
	return deploy.Deployer{
		Dial: func(ctx context.Context) (*host.Host, error) { return s.dial(ctx, target) },
		Log:  s.log,
		Observe: func(e deploy.Event) {
			switch e.Kind {
			case deploy.StepBegan:
				s.log.Debug().Msg(e.Step + " began")
			case deploy.StepOutput:
				s.log.Debug().Msg(e.Step + ": " + e.Line)
			case deploy.StepDone:
				s.log.Info().Str("took", fmt.Sprintf("%.1fs", e.Seconds)).Msg(e.Step)
			case deploy.StepFailed:
				s.log.Error().Str("took", fmt.Sprintf("%.1fs", e.Seconds)).Msg(e.Step + " failed")
			case deploy.StepUndone:
				s.log.Warn().Msg(e.Step + " undone")
			}
		},
	}
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
	var err error
	if c.target, c.embedded, err = p.destination(ctx); err != nil {
		return err
	}
	image, manifest, err := registry.Find(ctx, c.target, version)
	if err != nil {
		return err
	}
	if report := s.inspect(ctx, c); len(report) > 0 {
		return report.Err()
	}
	lock := release.Lock{SiteVersion: version, Python: manifest.Python, Node: manifest.Node, Apps: manifest.Apps}
	plan, report := deploy.MakePlan(ctx, *c.state, c.deployTarget(), lock)
	if err := report.Err(); err != nil {
		return err
	}
	shown := &planned{checked: c, build: &build{lock: lock}, plan: &plan}
	fmt.Fprint(s.err, shown.render())
	if !f.yes {
		if !s.terminal {
			return fmt.Errorf("%w: nobody can be asked here; say --yes", errUsage)
		}
		if !s.confirm("Deploy " + version + "?") {
			return errDeclined
		}
	}
	record, err := s.deployer(p.config.Target).Run(ctx, plan, image)
	if err != nil {
		return err
	}
	s.summarize(shown.summary(record))
	fmt.Fprintln(s.out, record.Image)
	return nil
}

// onHost reads the host's state for the commands that only show it.
func (s *streams) onHost(ctx context.Context, f *flags) (*deploy.State, error) {
	p, report := s.prepare(ctx, f, config.Deploy)
	if err := report.Err(); err != nil {
		return nil, err
	}
	c := &checked{prepared: p}
	if report := s.inspect(ctx, c); len(report) > 0 {
		return nil, report.Err()
	}
	return c.state, nil
}

// printJSON is a result for programs.
func (s *streams) printJSON(value any) error {
	encoder := json.NewEncoder(s.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func (s *streams) status(ctx context.Context, f *flags) error {
	state, err := s.onHost(ctx, f)
	if err != nil {
		return err
	}
	if f.json {
		return s.printJSON(state)
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
			if !container.OK() {
				mark = "✗"
			}
			fmt.Fprintf(table, "%s %s\t%s\t%s\n", mark, container.Service, container.State, container.Health)
		}
		_ = table.Flush()
	}
	fmt.Fprintln(s.out)
	if state.Lock != nil {
		fmt.Fprintf(s.out, "The deploy lock is held by run %s since %s.\n", state.Lock.Run, state.Lock.Since)
	} else {
		fmt.Fprintln(s.out, "The deploy lock is free.")
	}
	if state.LastRun != "" {
		fmt.Fprintf(s.out, "Last run: %s, %s.\n", state.LastRun, state.LastState)
	}
	return nil
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
	state, err := s.onHost(ctx, f)
	if err != nil {
		return err
	}
	if f.json {
		return s.printJSON(state.Live)
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tLIVE SINCE (UTC)\tDOWNTIME\tDIGEST\tREPLACED")
	for _, record := range state.Live {
		since := "unknown"
		if !record.FinishedAt.IsZero() {
			since = record.FinishedAt.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%.1fs\t%s\t%s\n", record.Version, since, record.Downtime, short(record.Image.Digest), record.Previous)
	}
	return table.Flush()
}

func (s *streams) show(ctx context.Context, f *flags, version string) error {
	state, err := s.onHost(ctx, f)
	if err != nil {
		return err
	}
	var versions []string
	for _, record := range state.Live {
		if record.Version != version {
			versions = append(versions, record.Version)
			continue
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
	return problem.Report{{Code: "host.version-unknown", Subject: "version " + version, Detail: "was never live on this host",
		Remedy: "the versions are " + strings.Join(versions, ", ")}}.Err()
}
