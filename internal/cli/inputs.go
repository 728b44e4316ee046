package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// inputs is what the static checks yield: everything that can be known before any
// server is asked.
type inputs struct {
	config  config.Config
	sources []apps.Source
	// target is where to deploy to.
	target deploy.Target
	// cache is this program's folder for what outlives it.
	cache string
}

// needs returns what a release needs: without a host it ends with the image, and
// where nothing is deployed, nothing is missing for it.
func (c *cli) needs(global *globalFlags) config.Need {
	if cfg, _ := config.Load(global.sources(c.environ), 0, nil); cfg.Host.Address == "" {
		return config.Build | config.Push
	}
	return config.Build | config.Push | config.Deploy
}

// readInputs reads and validates everything that the command needs, without the
// network, but for what a helper of docker login may ask. What could be read is
// returned in spite of problems, so that the probes can look for more.
func (c *cli) readInputs(ctx context.Context, global *globalFlags, need config.Need) (inputs, problem.Report) {
	// The names that .env may hold depend on apps.json and the compose files,
	// whose own names depend on .env: so it is read twice.
	first, _ := config.Load(global.sources(c.environ), need, nil)
	known := tokenNames(first.Apps.Path)
	files, fileReport := compose.ReadFiles(first.Target.ComposeFiles)
	if set, _ := compose.Load(ctx, "project", files, nil); set != nil {
		known = append(known, set.Variables...)
	}
	cfg, report := config.Load(global.sources(c.environ), need, known)
	c.hide(cfg.Secrets()...)

	in := inputs{config: cfg, cache: c.cacheDir()}
	if cfg.Sandbox != "" {
		in.cache = filepath.Join(cfg.Sandbox, "cache")
	}
	c.useDockerLogin(ctx, &in, need)
	in.target = deployTarget(in.config, c.owner())
	in.target.Migrate = global.migrate
	if need&config.Deploy != 0 {
		report.Add(fileReport...)
		if len(cfg.Target.ComposeFiles) == 0 {
			c.log.Info().Msg("the compose set is the program's own")
		}
		report.Add(in.readHooks()...)
		report = once(report)
	}
	if need&config.Build != 0 {
		overrides, overrideReport := global.overrides()
		report.Add(overrideReport...)
		var appsReport problem.Report
		in.sources, appsReport = apps.Load(appsOptions(cfg, overrides))
		for _, source := range in.sources {
			c.hide(source.Token)
		}
		report.Add(appsReport...)
	}
	return in, report
}

// readHooks reads the company's own steps into the target.
func (in *inputs) readHooks() (report problem.Report) {
	in.target.Hooks, report = deploy.ReadHooks(in.config.Target.HooksDir, false)
	return report
}

// tokenNames returns the names of the tokens in the URLs of apps.json.
func tokenNames(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	entries, _ := apps.Parse(path, data)
	return tokensOf(entries)
}

// tokensOf returns the names of the tokens in the URLs of entries of apps.json.
func tokensOf(entries []apps.Entry) (names []string) {
	for _, entry := range entries {
		if entry.TokenName != "" {
			names = append(names, entry.TokenName)
		}
	}
	return names
}

// once returns the report without problems that two checks found alike.
func once(report problem.Report) problem.Report {
	seen := map[string]bool{}
	var distinct problem.Report
	for _, p := range report {
		if !seen[p.Error()] {
			seen[p.Error()] = true
			distinct.Add(p)
		}
	}
	return distinct
}

// cacheDir returns where XDG's base directory specification has caches, or
// Windows.
func (c *cli) cacheDir() string {
	base := c.getenv("XDG_CACHE_HOME")
	if base == "" && c.getenv("HOME") == "" {
		base = c.getenv("LOCALAPPDATA")
	}
	if base == "" {
		base = filepath.Join(c.getenv("HOME"), ".cache")
	}
	return filepath.Join(base, "erpnext-pipeline")
}

// owner returns who runs this, for others to read in the deploy lock: the actor
// and the run in GitHub Actions, else the user and the machine.
func (c *cli) owner() string {
	if c.actions {
		return c.getenv("GITHUB_ACTOR") + ", run " + c.getenv("GITHUB_RUN_ID") + " of " + c.getenv("GITHUB_REPOSITORY")
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown"
	}
	user := c.getenv("USER")
	if user == "" {
		user = c.getenv("USERNAME")
	}
	return user + "@" + machine
}
