package cli

import (
	"context"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// packageName is the form of a Python package's name (PEP 508).
var packageName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// newRoot makes the command tree. Without a command the program releases.
func newRoot(s *streams) *cobra.Command {
	f := &flags{keys: map[string]*string{}}
	root := &cobra.Command{
		Use:   "pipeline",
		Short: "From a release tag to a live, migrated ERPNext site, or exactly where you were before",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return s.release(cmd.Context(), f) },
		// Errors are rendered in one place, by report.
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch f.logFormat {
			case "auto", "console", "json":
			default:
				return fmt.Errorf("%w: --log-format takes auto, console or json, not %q", errUsage, f.logFormat)
			}
			s.setLog(f.logFormat, f.verbose)
			for _, name := range f.upgrade {
				if !packageName.MatchString(name) {
					return fmt.Errorf("%w: --upgrade-packages takes the name of a Python package, not %q", errUsage, name)
				}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w (see %s --help)", errUsage, err, cmd.CommandPath())
	})
	all := root.PersistentFlags()
	all.StringVar(&f.envFile, "env-file", ".env", "file with the configuration")
	all.StringVar(&f.logFormat, "log-format", "auto", "how to log: auto, console or json")
	all.BoolVarP(&f.verbose, "verbose", "v", false, "log more, with what the engine prints")
	all.StringArrayVar(&f.refs, "ref", nil, "another ref for one app, as app=ref; may be repeated")
	for _, key := range config.Schema() {
		if key.Flag != "" {
			value := new(string)
			f.keys[key.Name] = value
			all.StringVar(value, key.Flag, "", key.Name+": "+key.Doc)
		}
	}
	building := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().StringVar(&f.noCache, "no-cache", "", "build every stage anew, or with =APP those of one app")
		cmd.Flags().Lookup("no-cache").NoOptDefVal = image.NoCacheAll
		cmd.Flags().StringArrayVar(&f.upgrade, "upgrade-packages", nil, "move Python packages to the newest versions that fit, or with =NAME one; may be repeated")
		cmd.Flags().Lookup("upgrade-packages").NoOptDefVal = image.UpgradeAll
		cmd.Flags().StringVar(&f.timeline, "timeline", "", "write a page with the timeline of the build to a file")
		return cmd
	}
	pushing := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().BoolVar(&f.skipSmokeTest, "skip-smoke-test", false, "tag the image without making a site from it first; this is recorded")
		return building(cmd)
	}
	asking := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
		return cmd
	}
	asJSON := func(cmd *cobra.Command) *cobra.Command {
		cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
		return cmd
	}
	none := func(run func(context.Context, *flags) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) }
	}

	build := building(&cobra.Command{Use: "build", Short: "build the image", Args: cobra.NoArgs, RunE: none(s.buildOnly)})
	build.Flags().BoolVar(&f.load, "load", false, "load the image into the local Docker")
	build.Flags().StringVar(&f.output, "output", "", "write the image to a file, as an OCI archive")
	build.Flags().StringVar(&f.lock, "lock", "", "write the lock to a file, for rebuild")
	rebuild := pushing(&cobra.Command{Use: "rebuild [VERSION]", Short: "build an old version again, from its record or a lock file", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.rebuild(cmd.Context(), f, args) }})
	rebuild.Flags().BoolVar(&f.load, "load", false, "load the image into the local Docker, and push nothing")
	rebuild.Flags().StringVar(&f.output, "output", "", "write the image to a file, as an OCI archive, and push nothing")
	rebuild.Flags().StringVar(&f.lock, "lock", "", "file with the lock")
	rollback := &cobra.Command{Use: "rollback [VERSION]", Short: "go back to an earlier release; without a version to the one that was replaced last", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.rollback(cmd.Context(), f, args) }}
	rollback.Flags().BoolVar(&f.restoreData, "restore-data", false, "put the databases back too, as they were when that release was replaced")
	unlock := &cobra.Command{Use: "unlock", Short: "finish a run that was interrupted or waits for a person", Args: cobra.NoArgs, RunE: none(s.unlock)}
	unlock.Flags().BoolVar(&f.resume, "resume", false, "carry on with it")
	unlock.Flags().BoolVar(&f.undo, "undo", false, "put everything back")
	unlock.Flags().BoolVar(&f.force, "force", false, "only take the deploy lock away from it")
	root.AddCommand(
		&cobra.Command{Use: "check", Short: "find every problem before a release, and change nothing", Args: cobra.NoArgs, RunE: none(s.check)},
		building(&cobra.Command{Use: "plan", Short: "show what a release would change", Args: cobra.NoArgs, RunE: none(s.plan)}),
		build, rebuild,
		pushing(&cobra.Command{Use: "push", Short: "build and push; print name:version@sha256:… on standard output", Args: cobra.NoArgs, RunE: none(s.pushOnly)}),
		asking(&cobra.Command{Use: "deploy VERSION", Short: "put a pushed version live", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.deploy(cmd.Context(), f, args[0]) }}),
		asking(pushing(&cobra.Command{Use: "release", Short: "check, build, push, deploy, migrate and verify (the default)", Args: cobra.NoArgs, RunE: none(s.release)})),
		asking(rollback), unlock,
		asking(&cobra.Command{Use: "prune", Short: "remove images and backups from the host that no rollback needs any more", Args: cobra.NoArgs, RunE: none(s.prune)}),
		asJSON(&cobra.Command{Use: "status", Short: "what runs on the host", Args: cobra.NoArgs, RunE: none(s.status)}),
		asJSON(&cobra.Command{Use: "history", Short: "the releases of the host, newest first", Args: cobra.NoArgs, RunE: none(s.history)}),
		asJSON(&cobra.Command{Use: "show VERSION", Short: "one release with everything in it", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.show(cmd.Context(), f, args[0]) }}),
		newDemo(s, f),
	)
	root.AddCommand(newEveryday(s, f)...)
	asking(pushing(root))
	for _, cmd := range append(root.Commands(), root) {
		if args := cmd.Args; args != nil {
			cmd.Args = func(cmd *cobra.Command, given []string) error {
				if err := args(cmd, given); err != nil {
					return fmt.Errorf("%w: %w (see %s --help)", errUsage, err, cmd.CommandPath())
				}
				return nil
			}
		}
	}
	return root
}
