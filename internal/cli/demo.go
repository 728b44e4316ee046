package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
)

// demo is what the demo was told.
type demo struct {
	exit         bool
	port         int
	repositories string
	apps         []string
}

func newDemo(s *streams, f *flags) *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "two releases against a sandbox on this machine; needs no account, no host, no configuration",
		Long: "Starts an engine, a registry, a GitHub and a host on this machine, releases version 1 with a new site and version 2 over it, " +
			"and leaves the site running until Ctrl-C. Everything is gone afterwards but a cache.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.demo(cmd.Context(), f, d) },
	}
	cmd.Flags().BoolVar(&d.exit, "exit", false, "end at once, without waiting for Ctrl-C")
	cmd.Flags().IntVar(&d.port, "port", 8080, "port of this machine for the site, if it is free")
	cmd.Flags().StringVar(&d.repositories, "repositories", "", "release your own apps: a folder of bare repositories OWNER/NAME.git, in place of the demo's small ones")
	cmd.Flags().StringArrayVar(&d.apps, "release", nil, "with --repositories: OWNER/NAME=REF,… of one release, frappe first; once for each release")
	return cmd
}

// selections are the apps of each release.
func (d demo) selections() ([]apps.Selection, error) {
	if d.repositories == "" {
		if len(d.apps) > 0 {
			return nil, fmt.Errorf("%w: --release goes with --repositories", errUsage)
		}
		return []apps.Selection{apps.Version1(), apps.Version1().With("erpnext", "v15.1.1")}, nil
	}
	if len(d.apps) == 0 {
		return nil, fmt.Errorf("%w: --repositories needs --release OWNER/NAME=REF,…", errUsage)
	}
	var all []apps.Selection
	for _, text := range d.apps {
		one, err := apps.ParseSelection(text)
		if err != nil {
			return nil, fmt.Errorf("%w: --release: %w", errUsage, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// demo makes a sandbox and runs the program itself against it, as a user
// would with the same configuration.
func (s *streams) demo(ctx context.Context, f *flags, d demo) (err error) {
	selections, err := d.selections()
	if err != nil {
		return err
	}
	cache, err := localengine.DefaultCacheDir()
	if err != nil {
		return err
	}
	var engineLog io.Writer
	if f.verbose {
		engineLog = s.err
	}
	start := time.Now()
	world, err := sandbox.Start(ctx, sandbox.Options{
		CacheDir: cache, Repositories: d.repositories, Name: "demo", HTTPPort: d.port, Log: s.log, EngineLog: engineLog,
	})
	if err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	defer func() {
		s.log.Info().Msg("ending the sandbox")
		if closing := world.Close(context.WithoutCancel(ctx)); closing != nil {
			err = errors.Join(err, fmt.Errorf("end sandbox: %w", closing))
		}
	}()
	s.hide(world.Token, world.Key)
	for _, standIn := range world.StandIns {
		s.log.Info().Stringer("image", standIn).Msg("base image")
	}
	s.log.Info().Str("took", seconds(time.Since(start))).Msg("the sandbox is up")

	environ, err := world.Environment()
	if err != nil {
		return err
	}
	var releases []demoRelease
	for i, selection := range selections {
		version := fmt.Sprintf("%d.0.0", i+1)
		one, err := s.demoRelease(ctx, f, world, environ, selection, version)
		if err != nil {
			return err
		}
		releases = append(releases, one)
	}
	if err := s.demoTable(releases); err != nil {
		return err
	}
	_, port, _ := strings.Cut(world.Host.SiteAddress(), ":")
	fmt.Fprintf(s.out, "\nThe site runs at http://%s:%s (log in as Administrator with the password %s).\n", sandbox.Site, port, s.demoPassword(environ))
	if d.exit {
		return nil
	}
	fmt.Fprintln(s.out, "Ctrl-C ends it.")
	s.flush()
	<-ctx.Done()
	return nil
}

func (s *streams) demoPassword(environ []string) string {
	for _, variable := range environ {
		if value, found := strings.CutPrefix(variable, "ADMIN_PASSWORD="); found {
			return value
		}
	}
	return ""
}

// demoRelease is one release of the demo, with what it took.
type demoRelease struct {
	record release.Record
	took   time.Duration
	stages []stageRow
}

// stageRow is a row of the table of what was built.
type stageRow struct {
	name    string
	seconds float64
	cached  bool
}

// demoRelease runs one release with the program's own command.
func (s *streams) demoRelease(ctx context.Context, f *flags, world *sandbox.World, environ []string, selection apps.Selection, version string) (demoRelease, error) {
	file, err := world.WriteApps(version, selection)
	if err != nil {
		return demoRelease{}, err
	}
	fmt.Fprintf(s.err, "\n— release %s —\n", version)
	user := newStreams(environ, bytes.NewReader(nil), s.out, s.err)
	user.log = s.log
	own := *f
	own.envFile, own.yes = "", true
	keys := map[string]*string{"DE_SITE_VERSION": &version, "APPS_FILE": &file}
	own.keys = keys
	start := time.Now()
	done, err := user.releaseTo(ctx, &own)
	user.flush()
	if err != nil {
		return demoRelease{}, err
	}
	one := demoRelease{record: done.record, took: time.Since(start)}
	for _, stage := range done.stages {
		one.stages = append(one.stages, stageRow{stage.Stage, stage.Took.Seconds(), stage.Cached})
	}
	return one, nil
}

// demoTable prints the table of all releases.
func (s *streams) demoTable(releases []demoRelease) error {
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) }
	head := []string{""}
	for _, r := range releases {
		head = append(head, r.record.Version)
	}
	row(head...)
	cells := func(name string, cell func(demoRelease) string) {
		line := []string{name}
		for _, r := range releases {
			line = append(line, cell(r))
		}
		row(line...)
	}
	cells("image", func(r demoRelease) string { return short(r.record.Image.Digest) })
	var names []string
	seen := map[string]bool{}
	for _, r := range releases {
		for _, app := range r.record.Lock.Apps {
			if !seen["app "+app.Name] {
				seen["app "+app.Name] = true
				cells("app "+app.Name, func(r demoRelease) string { return appCell(r.record.Lock, app.Name) })
			}
		}
		for _, stage := range r.stages {
			if !seen["stage "+stage.name] {
				seen["stage "+stage.name] = true
				names = append(names, stage.name)
			}
		}
	}
	for _, name := range names {
		cells("build "+name, func(r demoRelease) string { return stageCell(r.stages, name) })
	}
	var steps []string
	for _, r := range releases {
		for _, step := range r.record.Steps {
			if !seen["step "+step.Name] {
				seen["step "+step.Name] = true
				steps = append(steps, step.Name)
			}
		}
	}
	for _, name := range steps {
		cells("host "+name, func(r demoRelease) string {
			for _, step := range r.record.Steps {
				if step.Name == name {
					return fmt.Sprintf("%.1fs", step.Seconds)
				}
			}
			return "-"
		})
	}
	cells("downtime", func(r demoRelease) string {
		if r.record.Previous == "" {
			return "none: a new site"
		}
		return fmt.Sprintf("%.1fs", r.record.Downtime)
	})
	cells("in all", func(r demoRelease) string { return seconds(r.took) })
	return table.Flush()
}

func appCell(lock release.Lock, name string) string {
	for _, app := range lock.Apps {
		if app.Name == name {
			return app.Ref + " " + short(app.Commit)
		}
	}
	return "-"
}

func stageCell(stages []stageRow, name string) string {
	for _, stage := range stages {
		if stage.name == name && stage.cached {
			return "cached"
		}
		if stage.name == name {
			return fmt.Sprintf("%.1fs", stage.seconds)
		}
	}
	return "-"
}

// short gives the first characters of a commit or digest, enough for a person
// to tell two apart.
func short(sha string) string {
	_, hex, found := strings.Cut(sha, ":")
	if !found {
		hex = sha
	}
	return hex[:min(len(hex), 12)]
}
