package cli

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// globalFlags are the flags of every command.
type globalFlags struct {
	envFile   string
	logFormat string
	verbose   bool
	refs      []string
	// migrate is a flag of the commands that release, see registerMigrate.
	migrate bool
	// keys are the flags that stand for a key of the configuration, by its name.
	keys map[string]*string
}

func (f *globalFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.envFile, "env-file", ".env", "file with the configuration")
	flags.StringVar(&f.logFormat, "log-format", "auto", "how to log: auto, console or json")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log more, with what the engine prints")
	flags.StringArrayVar(&f.refs, "ref", nil, "another ref for one app, as app=ref; may be repeated")
	f.keys = map[string]*string{}
	for _, key := range config.Schema() {
		if key.Flag != "" {
			f.keys[key.Name] = flags.String(key.Flag, "", key.Name+": "+key.Doc)
		}
	}
}

// registerMigrate gives a command the flag that has a release migrate.
func (f *globalFlags) registerMigrate(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.migrate, "migrate", false, "migrate, also where no change is seen that needs it")
}

func (f *globalFlags) validate() error {
	switch f.logFormat {
	case "auto", "console", "json":
		return nil
	}
	return fmt.Errorf("%w: --log-format takes auto, console or json, not %q", errUsage, f.logFormat)
}

// withVersion returns the flags with another site version.
func (f *globalFlags) withVersion(version string) *globalFlags {
	other := *f
	other.keys = maps.Clone(f.keys)
	other.keys["DE_SITE_VERSION"] = &version
	return &other
}

// sources returns where the configuration is read from.
func (f *globalFlags) sources(environ []string) config.Sources {
	set := map[string]string{}
	for key, value := range f.keys {
		if *value != "" {
			set[key] = *value
		}
	}
	return config.Sources{Flags: set, Environ: environ, EnvFile: f.envFile}
}

// overrides returns the refs of --ref by app.
func (f *globalFlags) overrides() (map[string]string, problem.Report) {
	var report problem.Report
	overrides := map[string]string{}
	for _, text := range f.refs {
		app, ref, found := strings.Cut(text, "=")
		if !found || app == "" || ref == "" {
			report.Addf("flags.ref", "--ref "+text, "write --ref app=ref, for instance --ref hrms=v15.13.2", "is not of the form app=ref")
			continue
		}
		if other, twice := overrides[app]; twice && other != ref {
			report.Addf("flags.ref", "--ref "+text, "keep one of them", "gives %s a second ref beside %s", app, other)
		}
		overrides[app] = ref
	}
	return overrides, report
}

// buildFlags are the flags of the commands that build.
type buildFlags struct {
	noCache  string
	upgrade  []string
	timeline string
}

func (f *buildFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.noCache, "no-cache", "", "build every stage anew, or with =APP those of one app")
	cmd.Flags().Lookup("no-cache").NoOptDefVal = image.NoCacheAll
	cmd.Flags().StringArrayVar(&f.upgrade, "upgrade-packages", nil, "move Python packages to the newest versions that fit, or with =NAME one; may be repeated")
	cmd.Flags().Lookup("upgrade-packages").NoOptDefVal = image.UpgradeAll
	cmd.Flags().StringVar(&f.timeline, "timeline", "", "write a page with the timeline of the build to a file")
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.validate() }
}

// packageName is the form of a Python package's name (PEP 508).
var packageName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

func (f *buildFlags) validate() error {
	for _, name := range f.upgrade {
		if !packageName.MatchString(name) {
			return fmt.Errorf("%w: --upgrade-packages takes the name of a Python package, not %q", errUsage, name)
		}
	}
	return nil
}

// pushFlags are the flags of the commands that build and push.
type pushFlags struct {
	buildFlags
	skipSmokeTest bool
	newSite       bool
}

func (f *pushFlags) register(cmd *cobra.Command) {
	f.buildFlags.register(cmd)
	cmd.Flags().BoolVar(&f.skipSmokeTest, "skip-smoke-test", false, "tag the image without making a site from it first; this is recorded")
	cmd.Flags().BoolVar(&f.newSite, "new-site", false, "have the smoke test make a new site, also where an earlier one has kept its own")
}
