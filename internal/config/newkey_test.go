package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A key is one entry of the schema and one field of the struct that uses it:
// everything else follows from these two.
func TestNewKey(t *testing.T) {
	var uses struct{ WarmUp time.Duration }
	extended := func(c *Config) []Key {
		return append(schema(c), Key{Name: "WARM_UP_SECONDS", Flag: "warm-up", Group: "How a release goes live", Default: "30", parse: seconds(&uses.WarmUp, 600),
			Doc: "How long a new bench is asked for pages before it takes over."})
	}
	keys := extended(newConfig())

	if !slices.ContainsFunc(keys, func(k Key) bool { return k.Flag == "warm-up" }) {
		t.Error("there is no flag --warm-up")
	}
	if text := exampleEnv(keys); !strings.HasSuffix(text, "\n# How long a new bench is asked for pages before it takes over.\n# Optional. Default: 30\n# WARM_UP_SECONDS=30\n") {
		t.Errorf("de-example.env ends with %q", text[len(text)-200:])
	}
	if row := "| `WARM_UP_SECONDS`<br>`--warm-up` | How long a new bench is asked for pages before it takes over. | `30` |  |\n"; !strings.HasSuffix(markdownTable(keys), row) {
		t.Errorf("the table does not end with %s", row)
	}
	if want := "WARM_UP_SECONDS: ${{ vars.WARM_UP_SECONDS }}"; !slices.Contains(workflowEnv(keys), want) {
		t.Errorf("the env of the workflows has no %s", want)
	} else if !slices.Contains(workflowEnv(forRollback(extended(newConfig()))), want) {
		t.Errorf("the env of a rollback has no %s", want)
	}

	for _, c := range []struct {
		name                  string
		flag, outside, inFile string
		want                  time.Duration
		report                string
	}{
		{"default", "", "", "", 30 * time.Second, ""},
		{".env", "", "", "90", 90 * time.Second, ""},
		{"environment before .env", "", "60", "90", time.Minute, ""},
		{"flag before environment", "5", "60", "90", 5 * time.Second, ""},
		{"bad", "601", "", "", 0, "✗ --warm-up: WARM_UP_SECONDS is \"601\", which is not a number from 1 to 600\n  fix: write a number from 1 to 600\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.flags["WARM_UP_SECONDS"] = c.flag
			w.environ = append(w.environ, "WARM_UP_SECONDS="+c.outside)
			w.write(".env", "WARM_UP_SECONDS="+c.inFile+"\n")
			uses.WarmUp = 0
			config := newConfig()
			report := load(config, extended(config), w.sources(), 0, nil)
			if got := rendered(t, report); uses.WarmUp != c.want || got != c.report {
				t.Errorf("got %s, want %s; problems:\n%s", uses.WarmUp, c.want, got)
			}
		})
	}
}

// The schema belongs to the Config that it was made for.
func TestSchemaFillsItsConfigOnly(t *testing.T) {
	w := newWorld(t)
	w.write(".env", enough)
	first, _ := w.load(0)
	w.flags["SITE_NAME"], w.flags["PLATFORMS"], w.flags["DEPLOY_SSH_KEY"] = "other.example.com", "linux/arm64", w.key
	second, _ := w.load(0)
	if got := first.Target.Sites[0]; got != "erp.example.com" || len(first.Image.Platforms) > 0 || first.Host.Keys[0].PEM.IsSet() {
		t.Errorf("loading again changed the first configuration to %+v", first)
	}
	if got := second.Target.Sites[0]; got != "other.example.com" {
		t.Errorf("the second configuration has the site %s", got)
	}
}
