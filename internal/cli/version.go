package cli

import (
	"cmp"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// version is what is known of this program.
type version struct {
	// Version is the module's version; empty or "(devel)" where it was built
	// from a source without one.
	Version string `json:"version"`
	// Commit is empty where it is not known: a module from a proxy has none.
	Commit string `json:"commit,omitempty"`
	// CommittedAt is when the commit was made.
	CommittedAt *time.Time `json:"committed_at,omitempty"`
	// Modified reports whether the source had changes beside the commit.
	Modified bool `json:"modified"`
	// Go is the version of Go that built it.
	Go string `json:"go"`
}

// newVersion returns the command that prints the version of this program.
func newVersion(c *cli) *cobra.Command {
	var o jsonFlag
	cmd := &cobra.Command{
		Use: "version", Short: "version and commit of this program", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if o.json {
				return c.printJSON(v)
			}
			_, err := io.WriteString(c.out, renderVersion(v))
			return err
		},
	}
	o.register(cmd)
	return cmd
}

// readVersion returns what the program was built from.
func readVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) version {
	v := version{Version: info.Main.Version, Go: info.GoVersion}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.time":
			if at, err := time.Parse(time.RFC3339, setting.Value); err == nil {
				v.CommittedAt = &at
			}
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	return v
}

// renderVersion returns the version as the user reads it.
func renderVersion(v version) string {
	commit := cmp.Or(v.Commit, "not known")
	if v.Modified {
		commit += ", with changes that are not committed"
	}
	var b strings.Builder
	table := newTable(&b)
	fmt.Fprintf(table, "version\t%s\n", cmp.Or(v.Version, "(devel)"))
	fmt.Fprintf(table, "commit\t%s\n", commit)
	if v.CommittedAt != nil {
		fmt.Fprintf(table, "committed\t%s\n", v.CommittedAt.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(table, "go\t%s\n", v.Go)
	_ = table.Flush()
	return b.String()
}

// builderName returns the name and version of this program, for the manifest.
// Only a released version is named: the manifest is in the image, and the same
// lock has to make the same image at every commit of this repository, which is
// where apps.json is too.
func builderName(v version) string {
	const name = "erpnext-pipeline"
	if v.Version == "" {
		return name
	}
	if strings.ContainsAny(v.Version, "-+") { // a commit after a release, or before one
		return name + " (devel)"
	}
	return name + " " + v.Version
}
