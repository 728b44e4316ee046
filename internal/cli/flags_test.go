package cli

import (
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

func TestFlagsWithAndWithoutValue(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		noCache string
		upgrade string
	}{
		"neither":             {nil, "", "[]"},
		"no cache at all":     {[]string{"--no-cache"}, "all", "[]"},
		"not for one app":     {[]string{"--no-cache=hrms"}, "hrms", "[]"},
		"every package":       {[]string{"--upgrade-packages"}, "", "[all]"},
		"two of the packages": {[]string{"--upgrade-packages=redis", "--upgrade-packages=click"}, "", "[redis,click]"},
	} {
		for _, command := range []string{"", "build", "plan", "push", "release", "rebuild"} {
			t.Run(name+" "+command, func(t *testing.T) {
				root := newRoot(newCLI(nil, strings.NewReader(""), io.Discard, io.Discard))
				ran := root
				if command != "" {
					var err error
					if ran, _, err = root.Find([]string{command}); err != nil {
						t.Fatal(err)
					}
				}
				ran.RunE = func(cmd *cobra.Command, _ []string) error {
					if got := cmd.Flag("no-cache").Value.String(); got != test.noCache {
						t.Errorf("--no-cache is %q, want %q", got, test.noCache)
					}
					if got := cmd.Flag("upgrade-packages").Value.String(); got != test.upgrade {
						t.Errorf("--upgrade-packages is %s, want %s", got, test.upgrade)
					}
					return nil
				}
				args := test.args
				if command != "" {
					args = append([]string{command}, args...)
				}
				root.SetArgs(append([]string{}, args...))
				if err := root.ExecuteContext(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestOverrides(t *testing.T) {
	for name, test := range map[string]struct {
		refs []string
		want map[string]string
		// report is what is wrong, as it is rendered.
		report string
	}{
		"none":        {nil, map[string]string{}, ""},
		"two apps":    {[]string{"hrms=v15.13.2", "erpnext=develop"}, map[string]string{"hrms": "v15.13.2", "erpnext": "develop"}, ""},
		"twice alike": {[]string{"hrms=v1", "hrms=v1"}, map[string]string{"hrms": "v1"}, ""},
		"two refs": {[]string{"hrms=v1", "hrms=v2"}, map[string]string{"hrms": "v2"},
			"✗ --ref hrms=v2: gives hrms a second ref beside v1\n  fix: keep one of them\n"},
		"no ref": {[]string{"hrms="}, map[string]string{},
			"✗ --ref hrms=: is not of the form app=ref\n  fix: write --ref app=ref, for instance --ref hrms=v15.13.2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, report := (&globalFlags{refs: test.refs}).overrides()
			var text strings.Builder
			if err := report.Render(&text); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(got, test.want) || text.String() != test.report {
				t.Errorf("got %v and\n%s\nwant %v and\n%s", got, text.String(), test.want, test.report)
			}
		})
	}
}

// A command that takes its version as an argument must not change the flags of
// others.
func TestWithVersion(t *testing.T) {
	version, host := "1.0.0", "erp.example.com"
	flags := &globalFlags{envFile: ".env", keys: map[string]*string{"DE_SITE_VERSION": &version, "DEPLOY_HOST": &host, "SITE_NAME": new(string)}}
	other := flags.withVersion("2.0.0").sources([]string{"A=b"})
	want := config.Sources{Flags: map[string]string{"DE_SITE_VERSION": "2.0.0", "DEPLOY_HOST": host}, Environ: []string{"A=b"}, EnvFile: ".env"}
	if !reflect.DeepEqual(other, want) {
		t.Errorf("got %+v, want %+v", other, want)
	}
	if got := flags.sources(nil).Flags["DE_SITE_VERSION"]; got != version {
		t.Errorf("the flags themselves have version %s now", got)
	}
}
