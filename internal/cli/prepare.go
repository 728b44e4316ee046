package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// flags are the flags of all commands. Those that stand for a key of the
// configuration are in keys.
type flags struct {
	envFile   string
	refs      []string
	keys      map[string]*string
	logFormat string
	verbose   bool

	yes, json, load, skipSmokeTest bool
	restoreData                    bool
	resume, undo, force            bool
	noCache                        string
	upgrade                        []string
	output, timeline, lock         string
}

// values gives the flags that were set, by the keys that they stand for.
func (f *flags) values() map[string]string {
	set := map[string]string{}
	for key, value := range f.keys {
		if *value != "" {
			set[key] = *value
		}
	}
	return set
}

// overrides reads --ref app=ref.
func (f *flags) overrides() (map[string]string, problem.Report) {
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

// prepared is what the static checks yield: everything that can be known
// without the network.
type prepared struct {
	config  config.Config
	sources []apps.Source
	// variables are the names that the compose files refer to.
	variables []string
	// hooks are the company's own steps.
	hooks []deploy.Hook
	// owner is who releases, for others to read in the deploy lock.
	owner string
	// cache is this program's folder for what outlives it.
	cache string
}

// prepare reads and validates everything that the command needs, without the
// network. What could be read is given in spite of problems, so that the
// probes can look for more.
func (s *streams) prepare(ctx context.Context, f *flags, need config.Need) (prepared, problem.Report) {
	sources := config.Sources{Flags: f.values(), Environ: s.environ, EnvFile: f.envFile}
	// The names that .env may hold depend on apps.json and the compose files,
	// whose own names depend on .env: so it is read twice.
	first, _ := config.Load(ctx, sources, need, nil)
	var known, variables []string
	if data, err := os.ReadFile(first.AppsFile); err == nil {
		entries, _ := apps.Parse(first.AppsFile, data)
		for _, entry := range entries {
			if entry.TokenName != "" {
				known = append(known, entry.TokenName)
			}
		}
	}
	files, fileReport := compose.ReadFiles(first.Target.ComposeFiles)
	if set, _ := compose.Load(ctx, "project", files, nil); set != nil {
		variables = set.Variables
		known = append(known, variables...)
	}

	cfg, report := config.Load(ctx, sources, need, known)
	s.hide(cfg.Secrets()...)
	p := prepared{config: cfg, variables: variables, owner: s.owner(), cache: s.cacheDir()}
	if need&config.Deploy != 0 {
		report.Add(fileReport...)
		report.Add(p.readHooks()...)
		report = once(report)
	}
	if need&config.Build != 0 {
		overrides, overrideReport := f.overrides()
		report.Add(overrideReport...)
		var appsReport problem.Report
		p.sources, appsReport = apps.Load(appsOptions(cfg, overrides))
		report.Add(appsReport...)
	}
	return p, report
}

// readHooks reads the hooks.
func (p *prepared) readHooks() (report problem.Report) {
	p.hooks, report = deploy.ReadHooks(p.config.Target.HooksDir, false)
	return report
}

// deployTarget is the target of the configuration.
func (p prepared) deployTarget() deploy.Target {
	return deployTarget(p.config, p.variables, p.hooks, p.owner)
}

// once drops problems that two checks found alike.
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

// resolve turns every ref into a commit. Warnings are logged.
func (s *streams) resolve(ctx context.Context, p prepared) ([]release.App, problem.Report) {
	start := time.Now()
	github, err := newGitHub(p.config, p.cache, s.log)
	if err != nil {
		return nil, problem.Report{problemOf(err)}
	}
	resolved, warnings, report := apps.Resolve(ctx, github, p.sources, start)
	for _, w := range warnings {
		s.log.Warn().Str("fix", w.Remedy).Msg(w.Error())
	}
	if len(report) == 0 {
		s.log.Info().Int("apps", len(resolved)).Str("took", seconds(time.Since(start))).Msg("resolved every ref to a commit")
	}
	return resolved, report
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// problemOf gives the problem that an error is.
func problemOf(err error) problem.Problem {
	var p problem.Problem
	if errors.As(err, &p) {
		return p
	}
	return problem.Problem{Code: "error", Subject: "pipeline", Detail: err.Error(), Err: err}
}

// cacheDir is where XDG's base directory specification has caches.
func (s *streams) cacheDir() string {
	if dir := s.getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "erpnext-pipeline")
	}
	return filepath.Join(s.getenv("HOME"), ".cache", "erpnext-pipeline")
}

// owner says who runs this: the person and the run in GitHub Actions, else the
// user and the machine.
func (s *streams) owner() string {
	if s.actions {
		return s.getenv("GITHUB_ACTOR") + ", run " + s.getenv("GITHUB_RUN_ID") + " of " + s.getenv("GITHUB_REPOSITORY")
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "unknown"
	}
	return s.getenv("USER") + "@" + machine
}
