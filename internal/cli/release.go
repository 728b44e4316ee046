package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// needs are what a release needs: without a host it ends with the image, and
// where nothing is deployed there is nothing to be had for it.
func (s *streams) needs(ctx context.Context, f *flags) config.Need {
	sources := config.Sources{Flags: f.values(), Environ: s.environ, EnvFile: f.envFile}
	if cfg, _ := config.Load(ctx, sources, 0, nil); cfg.Target.Host == "" {
		return config.Build | config.Push
	}
	return config.Build | config.Push | config.Deploy
}

// checked is what the probes found: nothing stands in the way.
type checked struct {
	prepared
	resolved []release.App
	target   registry.Target
	// embedded is the registry in this process, and stores are where stages of
	// builds are looked for: the first is written to.
	embedded *registry.Embedded
	stores   []registry.Target
	// state is the host's; nil without one.
	state *deploy.State
}

func (c *checked) close() {
	if c.embedded != nil {
		_ = c.embedded.Close()
	}
}

// probe runs every check: first the static ones, then everything that asks
// somebody, side by side. The caller closes what it gives.
func (s *streams) probe(ctx context.Context, f *flags, need config.Need) (*checked, problem.Report, error) {
	p, report := s.prepare(ctx, f, need)
	c := &checked{prepared: p}
	if err := c.openStores(ctx, need); err != nil {
		return c, report, err
	}
	var (
		side                            sync.WaitGroup
		refs, pushing, reaching, onHost problem.Report
	)
	if need&config.Build != 0 && len(p.sources) > 0 {
		side.Go(func() { c.resolved, refs = s.resolve(ctx, p) })
	}
	if need&config.Push != 0 && p.config.ImageName != "" && p.config.SiteVersion != "" {
		side.Go(func() { pushing = registry.Check(ctx, c.target, p.config.SiteVersion) })
	}
	if need&config.Deploy != 0 && len(report) == 0 {
		side.Go(func() { reaching = s.inspect(ctx, c) })
	}
	side.Wait()
	if ctx.Err() != nil {
		return c, nil, ctx.Err()
	}
	if need&config.Deploy != 0 && len(report) > 0 {
		s.log.Info().Msg("the host was not looked at: it waits for a configuration without problems")
	}
	if need&config.Deploy == 0 {
		// The same image may be pushed again: only the build can tell, and the
		// push refuses another one under the same version.
		pushing = slices.DeleteFunc(pushing, func(p problem.Problem) bool { return p.Code == registry.CodeTaken })
	}
	report.Add(refs...)
	report.Add(pushing...)
	report.Add(reaching...)
	if c.state != nil && need&config.Build != 0 {
		_, onHost = deploy.MakePlan(ctx, *c.state, c.deployTarget(), newLock(c.config, c.resolved))
		report.Add(onHost...)
	}
	return c, report, nil
}

// inspect looks at the host.
func (s *streams) inspect(ctx context.Context, c *checked) problem.Report {
	h, err := s.dial(ctx, c.config)
	if err != nil {
		return host.Problems(err)
	}
	defer h.Close()
	state, err := deploy.Inspect(ctx, h, c.deployTarget())
	if err != nil {
		return host.Problems(err)
	}
	c.state = &state
	return nil
}

// check is the command.
func (s *streams) check(ctx context.Context, f *flags) error {
	c, report, err := s.probe(ctx, f, s.needs(ctx, f))
	defer c.close()
	if err != nil {
		return err
	}
	if err := report.Err(); err != nil {
		return err
	}
	s.log.Info().Msg("no problem found")
	return nil
}

// planned is a release that may begin: checked, and with a complete lock.
type planned struct {
	*checked
	build *build
	// plan is what happens on the host; nil without one.
	plan *deploy.Plan
}

func (p *planned) close() {
	if p != nil {
		p.build.close()
		p.checked.close()
	}
}

// prepareRelease checks, completes the lock and plans.
func (s *streams) prepareRelease(ctx context.Context, f *flags, need config.Need) (_ *planned, err error) {
	c, report, err := s.probe(ctx, f, need)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	p := &planned{checked: c}
	if p.build, err = s.startBuild(ctx, f, c); err == nil {
		var before *release.Lock
		if before, err = s.lockBefore(ctx, c, need); err == nil {
			err = p.build.resolve(ctx, c.prepared, c.resolved, before)
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	if c.state != nil {
		plan, report := deploy.MakePlan(ctx, *c.state, c.deployTarget(), p.build.lock)
		if err := report.Err(); err != nil {
			p.close()
			return nil, err
		}
		p.plan = &plan
	}
	return p, nil
}

// lockBefore is the lock that a release starts from, so that only moves what
// has to: of what runs on the host, or without a host of the version before in
// the registry.
func (s *streams) lockBefore(ctx context.Context, c *checked, need config.Need) (*release.Lock, error) {
	if c.state != nil {
		if c.state.Current == nil {
			return nil, nil
		}
		return &c.state.Current.Lock, nil
	}
	if need&config.Push == 0 {
		return nil, nil
	}
	version, err := registry.Before(ctx, c.target, c.config.SiteVersion)
	if err != nil || version == "" {
		return nil, err
	}
	lock, err := registry.LockOf(ctx, c.target, version)
	if err != nil {
		s.log.Warn().Err(err).Str("version", version).Msg("the lock of the version before can't be read: Python packages are resolved as for a first release")
		return nil, nil
	}
	return &lock, nil
}

// plan is the command: the plan is its result.
func (s *streams) plan(ctx context.Context, f *flags) error {
	p, err := s.prepareRelease(ctx, f, s.needs(ctx, f))
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Fprint(s.out, p.render())
	return nil
}

// buildOnly is the command build.
func (s *streams) buildOnly(ctx context.Context, f *flags) error {
	p, err := s.prepareRelease(ctx, f, config.Build)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.loadable(f); err != nil {
		return err
	}
	if err := s.group("build", func() error { return p.build.run(ctx) }); err != nil {
		return err
	}
	if f.load {
		if err := p.build.load(ctx, s, p.config.ImageName); err != nil {
			return err
		}
	}
	if f.lock != "" {
		if err := p.build.writeLock(f.lock); err != nil {
			return err
		}
	}
	if f.output != "" {
		return registry.WriteArchive(f.output, p.build.image, p.build.lock.SiteVersion)
	}
	return nil
}

// pushOnly is the command push: the image's name is its result.
func (s *streams) pushOnly(ctx context.Context, f *flags) error {
	p, err := s.prepareRelease(ctx, f, config.Build|config.Push)
	if err != nil {
		return err
	}
	defer p.close()
	pushed, err := s.buildAndPush(ctx, f, p)
	p.build.close()
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, pushed)
	return nil
}

func (s *streams) buildAndPush(ctx context.Context, f *flags, p *planned) (pushed release.Image, err error) {
	if err = s.group("build", func() error { return p.build.run(ctx) }); err != nil {
		return pushed, err
	}
	err = s.group("push", func() error {
		pushed, err = p.build.push(ctx, s, f, p.checked)
		return err
	})
	s.summarize("## Build of " + p.build.lock.SiteVersion + "\n\n" + p.build.timeline.Table())
	return pushed, err
}

// released is what a release left behind.
type released struct {
	record release.Record
	stages []progress.Row
}

// release is the command, and the default.
func (s *streams) release(ctx context.Context, f *flags) error {
	done, err := s.releaseTo(ctx, f)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, done.record.Image)
	return nil
}

// releaseTo checks, builds, pushes and deploys.
func (s *streams) releaseTo(ctx context.Context, f *flags) (released, error) {
	var done released
	p, err := s.prepareRelease(ctx, f, s.needs(ctx, f))
	if err != nil {
		return done, err
	}
	defer p.close()
	fmt.Fprint(s.err, p.render())
	if err := s.approve(f, "Release "+p.config.SiteVersion+"?"); err != nil {
		return done, err
	}
	done.record.Image, err = s.buildAndPush(ctx, f, p)
	done.stages = p.build.timeline.Rows()
	p.build.hide()
	if err != nil {
		return done, err
	}
	if p.plan == nil {
		s.log.Info().Msg("no host is configured: the release ends with the image")
		if err := p.build.load(ctx, s, p.config.ImageName); err != nil {
			s.log.Warn().Err(err).Msg("the image is not in the local Docker")
		}
		s.summarize("Pushed `" + done.record.Image.String() + "`")
		return done, nil
	}
	err = s.group("deploy", func() error {
		done.record, err = s.deployer(p.checked).Run(ctx, *p.plan, done.record.Image)
		return err
	})
	if err != nil {
		return done, err
	}
	s.log.Info().Str("version", done.record.Version).Str("downtime", fmt.Sprintf("%.1fs", done.record.Downtime)).Msg("live")
	s.summarize(p.summary(done.record))
	return done, nil
}

// render is the plan as a person reads it.
func (p *planned) render() string {
	var b strings.Builder
	lock := p.build.lock
	fmt.Fprintf(&b, "\nRelease %s (Python %s, Node %s)\n\n", lock.SiteVersion, lock.Python, lock.Node)
	var changes []deploy.AppChange
	if p.plan != nil {
		changes = p.plan.Apps
	} else {
		for i := range lock.Apps {
			changes = append(changes, deploy.AppChange{Name: lock.Apps[i].Name, New: &lock.Apps[i]})
		}
	}
	renderApps(&b, changes)
	b.WriteString(p.renderPackages())
	if p.plan == nil {
		fmt.Fprint(&b, "\nNo host is configured: the release ends with the image.\n\n")
		return b.String()
	}
	renderSteps(&b, p.config.Target, *p.plan)
	return b.String()
}

// renderApps is a table of what becomes of the apps.
func renderApps(b *strings.Builder, changes []deploy.AppChange) {
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, change := range changes {
		switch {
		case change.New == nil:
			fmt.Fprintf(table, "  %s\t%s\t→ not in this release\n", change.Name, at(change.Old))
		case change.Old == nil:
			fmt.Fprintf(table, "  %s\tnew\t→ %s\n", change.Name, at(change.New))
		case change.Changed():
			fmt.Fprintf(table, "  %s\t%s\t→ %s\n", change.Name, at(change.Old), at(change.New))
		default:
			fmt.Fprintf(table, "  %s\t%s\tunchanged\n", change.Name, at(change.New))
		}
	}
	_ = table.Flush()
}

// renderSteps lists what the host does.
func renderSteps(b *strings.Builder, target config.Target, plan deploy.Plan) {
	fmt.Fprintf(b, "\nOn %s, project %s:\n", target.Host, target.Project)
	for i, step := range plan.Steps {
		fmt.Fprintf(b, "  %d. %s: %s\n", i+1, step.Name, step.Does)
	}
	b.WriteString("\n")
}

// renderPackages says which Python packages move.
func (p *planned) renderPackages() string {
	count := strings.Count(p.build.lock.Requirements, "==")
	if p.build.before == "" {
		if count == 0 {
			return ""
		}
		return fmt.Sprintf("\nPython packages: %d, resolved for a first release\n", count)
	}
	moved := p.build.moved()
	if len(moved) == 0 {
		return fmt.Sprintf("\nPython packages: %d, none moves\n", count)
	}
	return fmt.Sprintf("\nPython packages: %d, of which move\n  %s\n", count, strings.Join(moved, "\n  "))
}

// at is an app's ref, version and commit.
func at(app *release.App) string {
	text := app.Ref
	if app.Version != "" && !strings.Contains(app.Ref, app.Version) {
		text += " (" + app.Version + ")"
	}
	return text + " " + short(app.Commit)
}

// summary is the page of a workflow's run.
func (p *planned) summary(record release.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s is live\n\n`%s`\n\n| app | before | now |\n|---|---|---|\n", record.Version, record.Image)
	for _, change := range p.plan.Apps {
		before, after := "", ""
		if change.Old != nil {
			before = at(change.Old)
		}
		if change.New != nil {
			after = at(change.New)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", change.Name, before, after)
	}
	b.WriteString("\n| step | seconds |\n|---|---|\n")
	for _, step := range record.Steps {
		fmt.Fprintf(&b, "| %s | %.1f |\n", step.Name, step.Seconds)
	}
	fmt.Fprintf(&b, "\nDowntime: %.1f s\n", record.Downtime)
	return b.String()
}
