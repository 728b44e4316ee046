package config

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// What leads to a company's places is not carried elsewhere, whichever name it has;
// and the environment, which would go first, must not have it.
func TestCarried(t *testing.T) {
	w := newWorld(t)
	w.write(".env", "DE_SITE_VERSION=1.2.3\nPAT_DESIRED_EFFECT=ghp_x\nMAIL_SERVER=$SMTP\nDB_HOST=db.acme.example\nHOOKS_DIR=ours\nEMPTY=\nDEPLOY_HOST=erp.acme.example\nREGISTRY=r.acme.example\n"+
		"RESTIC_PASSWORD=restic-pass-1\n_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://builder:1\nEXTRA_CONFIG='{}'\nSIGNING_KEY=key\nADMIN_PASSWORD=admin-pass-1\n")
	w.environ = append(w.environ, "SMTP=mail.acme.example", "DEPLOY_PORT=", "SITE_NAME=erp.acme.example")
	values, others, report := Carried(w.sources())
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"DE_MACRS_PAT", "DE_SITE_VERSION"}; !slices.Equal(names, want) {
		t.Errorf("carries %q, want %q", names, want)
	}
	if got := others["MAIL_SERVER"].Reveal(); got != "mail.acme.example" {
		t.Errorf("MAIL_SERVER is %q", got)
	}
	if left := slices.Sorted(maps.Keys(others)); !slices.Equal(left, []string{"DB_HOST", "MAIL_SERVER"}) {
		t.Errorf("others are %q", left)
	}
	if got := rendered(t, report); !strings.HasPrefix(got, "✗ SITE_NAME: is set in the environment") || strings.Count(got, "✗") != 1 {
		t.Errorf("reports\n%s", got)
	}
}

// The file of a sandbox leads there whatever the environment and flags say, and to
// nothing once that has ended.
func TestConfigurationOfASandbox(t *testing.T) {
	w := newWorld(t)
	w.write(".env", enough+"SANDBOX="+w.dir+"\n")
	w.environ = append(w.environ, "GUNICORN_WORKERS=3", "REGISTRY=")
	if _, report := w.load(Deploy); len(report) > 0 {
		t.Errorf("reports\n%s", rendered(t, report))
	}
	w.environ = append(w.environ, "REGISTRY=registry.acme.example", "_EXPERIMENTAL_DAGGER_RUNNER_HOST=tcp://builder:1", "DEPLOY_PORT=23")
	w.flags["DEPLOY_HOST"] = "erp.acme.example"
	_, report := w.load(Deploy)
	for _, name := range []string{"REGISTRY", "DAGGER_RUNNER_HOST", "DEPLOY_PORT", "DEPLOY_HOST"} {
		if !strings.Contains(rendered(t, report), name+" is set, which comes before the file of the sandbox") {
			t.Errorf("%s is not reported:\n%s", name, rendered(t, report))
		}
	}
	if !strings.Contains(rendered(t, report), "fix: leave --host out") {
		t.Errorf("the flag has another remedy:\n%s", rendered(t, report))
	}
	ended := newWorld(t)
	ended.write(".env", enough+"SANDBOX="+w.path("gone")+"\n")
	if _, report := ended.load(Deploy); !strings.Contains(rendered(t, report), "SANDBOX names a sandbox that has ended") {
		t.Errorf("reports\n%s", rendered(t, report))
	}
}

// A folder needs no compose file of its own; one that is named has to be there.
func TestComposeFilesOfTheProgram(t *testing.T) {
	const file = "deploy/compose/compose-main.yaml"
	for _, c := range []struct {
		name, env string
		// gone is removed before.
		gone string
		want int
	}{
		{"no such folder", "", "deploy", 0},
		{"the default one is there", "", "none", 1},
		{"moved away from its folder", "", file, 1},
		{"named, and no such folder", "COMPOSE_FILES=" + file + "\n", "deploy", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.RemoveAll(w.path(c.gone)); err != nil {
				t.Fatal(err)
			}
			w.write(".env", c.env)
			cfg, report := w.load(Deploy)
			if len(cfg.Target.ComposeFiles) != c.want {
				t.Errorf("files are %q", cfg.Target.ComposeFiles)
			}
			said := strings.Contains(rendered(t, report), "COMPOSE_FILES names")
			if missing := c.want == 1 && c.gone != "none"; said != missing {
				t.Errorf("reports\n%s", rendered(t, report))
			}
		})
	}
}

// Dagger's own names of the engine count as much as this program's.
func TestEngine(t *testing.T) {
	w := newWorld(t)
	w.write(".env", enough+"DAGGER_RUNNER_HOST=tcp://builder.example.com:1234\nDAGGER_CLI_BIN=~/dagger\n")
	cfg, report := w.load(Build)
	if want := (engine.Endpoint{RunnerHost: "tcp://builder.example.com:1234", CLI: w.path("dagger")}); cfg.Engine != want || len(report) > 0 {
		t.Errorf("engine is %+v, want %+v\n%s", cfg.Engine, want, rendered(t, report))
	}
	w.environ = append(w.environ, engine.Endpoint{RunnerHost: "unix:///other.sock"}.Environ()...)
	if _, report = w.load(Build); !strings.Contains(rendered(t, report), "have different values") {
		t.Errorf("two engines are taken:\n%s", rendered(t, report))
	}
	w.write(".env", enough)
	if cfg, _ = w.load(Build); cfg.Engine.RunnerHost != "unix:///other.sock" {
		t.Errorf("engine is %+v", cfg.Engine)
	}
}
