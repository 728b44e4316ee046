package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
)

type demoOptions struct {
	*globalFlags
	// exit ends the demo without waiting for Ctrl-C.
	exit bool
	port int
	// repositories is a folder with the apps to release; empty for the demo's
	// own. apps are those of each release, as text.
	repositories string
	apps         []string
}

// newDemo returns the command that releases twice against a sandbox.
func newDemo(c *cli, global *globalFlags) *cobra.Command {
	o := demoOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "two releases against a sandbox on this machine; needs no account, no host, no configuration",
		Long: "Starts an engine, a registry, a GitHub and a host on this machine, releases version 1 with a new site and version 2 over it, " +
			"and leaves the site running until Ctrl-C. Everything is gone afterwards but a cache.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.demo(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.exit, "exit", false, "end at once, without waiting for Ctrl-C")
	cmd.Flags().IntVar(&o.port, "port", 8080, "port of this machine for the site, if it is free")
	cmd.Flags().StringVar(&o.repositories, "repositories", "", "release your own apps: a folder of bare repositories OWNER/NAME.git, in place of the demo's small ones")
	cmd.Flags().StringArrayVar(&o.apps, "release", nil, "with --repositories: OWNER/NAME=REF,… of one release, frappe first; once for each release")
	return cmd
}

// selections returns the apps of each release.
func (o demoOptions) selections() ([]apps.Selection, error) {
	if o.repositories == "" {
		if len(o.apps) > 0 {
			return nil, fmt.Errorf("%w: --release goes with --repositories", errUsage)
		}
		return []apps.Selection{apps.Version1(), apps.Version1().With("erpnext", "v15.1.1")}, nil
	}
	if len(o.apps) == 0 {
		return nil, fmt.Errorf("%w: --repositories needs --release OWNER/NAME=REF,…", errUsage)
	}
	var all []apps.Selection
	for _, text := range o.apps {
		one, err := apps.ParseSelection(text)
		if err != nil {
			return nil, fmt.Errorf("%w: --release: %w", errUsage, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// bases are the public images that the releases of own apps are made of.
func (o demoOptions) bases(ctx context.Context, selections []apps.Selection) (images.Set, error) {
	if o.repositories == "" {
		return nil, nil
	}
	var all images.Set
	for _, selection := range selections {
		bases, err := basesOf(ctx, selection, o.repositories)
		if err != nil {
			return nil, fmt.Errorf("%w: --release: %w", errUsage, err)
		}
		all = append(all, bases...)
	}
	return all, nil
}

// basesOf are the public images that a selection out of a folder of repositories is
// made of.
func basesOf(ctx context.Context, selection apps.Selection, repositories string) (images.Set, error) {
	text, err := selection.FrappeInit(ctx, repositories)
	if err != nil {
		return nil, err
	}
	python, node := image.BasesOf(text)
	return images.Set{python, node}, nil
}

// demo makes a sandbox and runs the program itself against it, as a user
// would with the same configuration.
func (c *cli) demo(ctx context.Context, o demoOptions) error {
	selections, err := o.selections()
	if err != nil {
		return err
	}
	bases, err := o.bases(ctx, selections)
	if err != nil {
		return err
	}
	options := sandbox.Options{Repositories: o.repositories, Name: "demo", HTTPPort: o.port, Images: bases}
	return c.inSandbox(ctx, options, o.globalFlags, func(world *sandbox.World) error { return c.demoIn(ctx, o, world, selections) })
}

// demoIn releases one selection after the other to a sandbox.
func (c *cli) demoIn(ctx context.Context, o demoOptions, world *sandbox.World, selections []apps.Selection) error {
	environ, err := world.Environment()
	if err != nil {
		return err
	}
	var releases []demoRelease
	for i, selection := range selections {
		version := fmt.Sprintf("%d.0.0", i+1)
		one, err := c.demoRelease(ctx, o.globalFlags, world, environ, selection, version)
		if err != nil {
			return err
		}
		releases = append(releases, one)
	}
	if _, err := io.WriteString(c.out, renderDemo(releases)); err != nil {
		return err
	}
	_, port, _ := strings.Cut(world.Host.SiteAddress(), ":")
	fmt.Fprintf(c.out, "\nThe site runs at http://%s:%s (log in as Administrator with the password %s).\n", sandbox.Site, port, demoPassword(environ))
	if o.exit {
		return nil
	}
	fmt.Fprintln(c.out, "Ctrl-C ends it.")
	c.flush()
	<-ctx.Done()
	return nil
}

// demoPassword returns the password of the site's Administrator.
func demoPassword(environ []string) string {
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
func (c *cli) demoRelease(ctx context.Context, global *globalFlags, world *sandbox.World, environ []string, selection apps.Selection, version string) (demoRelease, error) {
	file, err := world.WriteApps(version, selection)
	if err != nil {
		return demoRelease{}, err
	}
	fmt.Fprintf(c.err, "\n— release %s —\n", version)
	user := c.as(environ)
	own := *global
	own.envFile, own.keys = "", map[string]*string{"DE_SITE_VERSION": &version, "APPS_FILE": &file}
	start := time.Now()
	done, err := user.release(ctx, releaseOptions{globalFlags: &own, yesFlag: yesFlag{yes: true}})
	user.flush()
	if err != nil {
		return demoRelease{}, err
	}
	one := demoRelease{record: done.record, took: time.Since(start)}
	for _, stage := range done.stages {
		// Those on the host are in the record.
		if strings.HasPrefix(stage.Stage, hostStage) {
			continue
		}
		one.stages = append(one.stages, stageRow{stage.Stage, stage.Took.Seconds(), stage.Cached})
	}
	return one, nil
}
