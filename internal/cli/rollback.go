package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// live is what the commands need that go on with what the host has already:
// the way there and its state.
func (s *streams) live(ctx context.Context, f *flags) (*checked, error) {
	p, report := s.prepare(ctx, f, config.HostAccess)
	report.Add(p.readHooks()...)
	if err := report.Err(); err != nil {
		return nil, err
	}
	c := &checked{prepared: p}
	if report := s.inspect(ctx, c); len(report) > 0 {
		return nil, report.Err()
	}
	return c, nil
}

// rollback is the command: it goes back to an earlier release.
func (s *streams) rollback(ctx context.Context, f *flags, args []string) error {
	c, err := s.live(ctx, f)
	if err != nil {
		return err
	}
	version := ""
	if len(args) > 0 {
		version = args[0]
	}
	plan, report := deploy.PlanRollback(*c.state, c.deployTarget(), version, f.restoreData)
	if err := report.Err(); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nGo back from %s to %s\n\n", plan.Previous, plan.Version)
	renderApps(&text, plan.Apps)
	if plan.RestoreFrom != "" {
		fmt.Fprintf(&text, "\nThe databases are put back from the backup of run %s: what was written since then is only in the backup that this takes first.\n", plan.RestoreFrom)
	} else {
		fmt.Fprintf(&text, "\nThe databases stay as they are (--restore-data puts them back too).\n")
	}
	renderSteps(&text, c.config.Target, plan)
	fmt.Fprint(s.err, text.String())
	if err := s.approve(f, "Go back to "+plan.Version+"?"); err != nil {
		return err
	}
	record, err := s.deployer(c).Run(ctx, plan, release.Image{})
	if err != nil {
		return err
	}
	s.log.Info().Str("version", record.Version).Str("downtime", fmt.Sprintf("%.1fs", record.Downtime)).Msg("live again")
	s.summarize(fmt.Sprintf("## Back to %s\n\nfrom %s, with a downtime of %.1f s\n", record.Version, record.Previous, record.Downtime))
	fmt.Fprintln(s.out, record.Image)
	return nil
}

// unlock is the command: it finishes a run that has lost its process or that
// waits for a person, or takes the deploy lock away from one that can't be
// finished.
func (s *streams) unlock(ctx context.Context, f *flags) error {
	c, err := s.live(ctx, f)
	if err != nil {
		return err
	}
	chosen := 0
	for _, flag := range []bool{f.resume, f.undo, f.force} {
		if flag {
			chosen++
		}
	}
	if chosen > 1 {
		return fmt.Errorf("%w: choose one of --resume, --undo and --force", errUsage)
	}
	state, target := *c.state, c.deployTarget()
	waits := state.LastRun != nil && (state.LastRun.Status == deploy.RunInterrupted || state.LastRun.Status == deploy.RunHeld)
	switch {
	case state.Lock == nil && !waits:
		s.log.Info().Msg("the deploy lock is free, and no run waits for anybody")
		return nil
	case state.Lock != nil && state.Lock.Status == deploy.RunRunning:
		return problem.Report{{Code: "unlock.running", Subject: "run " + state.Lock.Run, Detail: "is under way" + by(state.Lock.Owner),
			Remedy: "wait for it: pipeline status shows what it does"}}.Err()
	case f.force:
		if state.Lock == nil {
			s.log.Info().Msg("the deploy lock is free")
			return nil
		}
		h, err := s.dial(ctx, c.config)
		if err != nil {
			return host.Problems(err).Err()
		}
		defer h.Close()
		if err := deploy.Unlock(ctx, h, target, state.Lock.Run); err != nil {
			return err
		}
		s.log.Warn().Str("run", state.Lock.Run).Msg("the deploy lock is free; what the run had begun was left as it is")
		return nil
	case f.resume, f.undo:
		verb := "undo"
		if f.resume {
			verb = "resume"
		}
		record, err := s.deployer(c).TakeOver(ctx, state, target, verb)
		if errors.Is(err, deploy.ErrNothingToTakeOver) {
			return problem.Report{{Code: "unlock.nothing", Subject: "deploy lock", Detail: "belongs to a run that can't be finished, because its folder is gone",
				Remedy: "pipeline unlock --force takes the lock away from it", Err: err}}.Err()
		}
		var failed *deploy.FailedError
		if errors.As(err, &failed) && f.undo && failed.State == deploy.RolledBack {
			// That is what was asked for.
			s.log.Info().Str("site", failed.Site).Msg("everything was put back")
			return nil
		}
		if err != nil {
			return err
		}
		s.log.Info().Str("version", record.Version).Msg("the run has come to its end")
		return nil
	}
	step := ""
	if run := state.LastRun; run.Step != "" {
		step = ", at step " + run.Step
		if run.Undoing {
			step = ", while step " + run.Step + " was undone"
		}
	}
	return problem.Report{{Code: "unlock.choose", Subject: "run " + state.LastRun.ID, Detail: fmt.Sprintf("is %s%s", state.LastRun.Status, step),
		Remedy: "pipeline unlock --undo puts everything back, pipeline unlock --resume carries on; --force only takes the lock away and leaves the rest as it is"}}.Err()
}

func by(owner string) string {
	if owner == "" {
		return ""
	}
	return ", started by " + owner
}

// prune is the command: it removes what no rollback needs.
func (s *streams) prune(ctx context.Context, f *flags) error {
	c, err := s.live(ctx, f)
	if err != nil {
		return err
	}
	plan, report := deploy.PlanPrune(*c.state, c.deployTarget())
	if err := report.Err(); err != nil {
		return err
	}
	if plan.Unneeded.Empty() {
		s.log.Info().Msg("nothing to remove")
		return nil
	}
	for _, version := range plan.Unneeded.Versions {
		fmt.Fprintln(s.out, "image of "+version)
	}
	for _, run := range plan.Unneeded.Backups {
		fmt.Fprintln(s.out, "backup of run "+run)
	}
	if err := s.approve(f, "Remove these?"); err != nil {
		return err
	}
	_, err = s.deployer(c).Run(ctx, plan, release.Image{})
	return err
}
