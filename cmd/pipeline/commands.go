package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/config"
)

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
		cmd.Flags().BoolVar(&f.noCache, "no-cache", false, "build every stage anew")
		return cmd
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
	root.AddCommand(
		&cobra.Command{Use: "check", Short: "find every problem before a release, and change nothing", Args: cobra.NoArgs, RunE: none(s.check)},
		&cobra.Command{Use: "plan", Short: "show what a release would change", Args: cobra.NoArgs, RunE: none(s.plan)},
		build,
		building(&cobra.Command{Use: "push", Short: "build and push; print name:version@sha256:… on standard output", Args: cobra.NoArgs, RunE: none(s.pushOnly)}),
		asking(&cobra.Command{Use: "deploy VERSION", Short: "put a pushed version live", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.deploy(cmd.Context(), f, args[0]) }}),
		asking(building(&cobra.Command{Use: "release", Short: "check, build, push, deploy, migrate and verify (the default)", Args: cobra.NoArgs, RunE: none(s.release)})),
		asJSON(&cobra.Command{Use: "status", Short: "what runs on the host", Args: cobra.NoArgs, RunE: none(s.status)}),
		asJSON(&cobra.Command{Use: "history", Short: "the releases of the host, newest first", Args: cobra.NoArgs, RunE: none(s.history)}),
		asJSON(&cobra.Command{Use: "show VERSION", Short: "one release with everything in it", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.show(cmd.Context(), f, args[0]) }}),
		newDemo(s, f),
	)
	asking(building(root))
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
