package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

type unlockOptions struct {
	*globalFlags
	resume, undo, force bool
}

// newUnlock returns the command that finishes a run that has lost its process or
// that waits for the operator, or takes the deploy lock away from one that can't
// be finished.
func newUnlock(c *cli, global *globalFlags) *cobra.Command {
	o := unlockOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "unlock", Short: "finish a run that was interrupted or waits for the operator", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.unlock(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.resume, "resume", false, "carry on with it")
	cmd.Flags().BoolVar(&o.undo, "undo", false, "put everything back")
	cmd.Flags().BoolVar(&o.force, "force", false, "end it, whatever it is doing, and take the deploy lock away from it")
	return cmd
}

func (o unlockOptions) validate() error {
	chosen := 0
	for _, flag := range []bool{o.resume, o.undo, o.force} {
		if flag {
			chosen++
		}
	}
	if chosen > 1 {
		return fmt.Errorf("%w: choose one of --resume, --undo and --force", errUsage)
	}
	return nil
}

func (c *cli) unlock(ctx context.Context, o unlockOptions) error {
	in, state, err := c.hostState(ctx, o.globalFlags)
	if err != nil {
		return err
	}
	if err := o.validate(); err != nil {
		return err
	}
	waits := state.LastRun != nil && (state.LastRun.Status == deploy.RunInterrupted || state.LastRun.Status == deploy.RunHeld)
	switch {
	case state.Lock == nil && !waits:
		c.log.Info().Msg("the deploy lock is free, and no run waits to be finished")
		return nil
	case state.Lock != nil && state.Lock.Status == deploy.RunRunning && !o.force:
		return problem.Report{{Code: "unlock.running", Subject: "run " + state.Lock.Run, Detail: "is under way" + by(state.Lock.Owner),
			Remedy: "wait for it: pipeline status shows what it does; pipeline unlock --force ends it where it is"}}.Err()
	case o.force:
		return c.takeLock(ctx, in, state.Lock)
	case o.resume:
		return c.finish(ctx, in, state, "resume")
	case o.undo:
		return c.finish(ctx, in, state, "undo")
	}
	if state.Lock != nil && (state.LastRun == nil || state.LastRun.ID != state.Lock.Run) {
		return problem.Report{{Code: "unlock.unreadable", Subject: "deploy lock", Detail: "can't be read: the host may have lost its power",
			Remedy: "pipeline unlock --force takes it away; pipeline unlock then tells whether a run waits to be finished"}}.Err()
	}
	return unlockChoices(*state.LastRun).Err()
}

// takeLock takes the deploy lock away from a run that can't be finished.
func (c *cli) takeLock(ctx context.Context, in inputs, lock *deploy.Lock) error {
	if lock == nil {
		c.log.Info().Msg("the deploy lock is free")
		return nil
	}
	h, err := c.dial(ctx, in.config)
	if err != nil {
		return host.Problems(err).Err()
	}
	defer h.Close()
	if err := deploy.Unlock(ctx, h, in.target, lock.Run); err != nil {
		return err
	}
	c.log.Warn().Str("run", lock.Run).Msg("the run was ended and the deploy lock is free; what it had begun was left as it is, and what runs in containers goes on there")
	return nil
}

// finish has the host resume or undo the run that waits.
func (c *cli) finish(ctx context.Context, in inputs, state deploy.State, verb string) error {
	w := c.watch("Unlock")
	record, err := c.deployer(ctx, in.config, nil, w.observeDeploy).TakeOver(ctx, state, in.target, verb)
	w.hide()
	var failed *deploy.FailedError
	switch {
	case errors.Is(err, deploy.ErrNothingToTakeOver):
		return problem.Report{{Code: "unlock.nothing", Subject: "deploy lock", Detail: "belongs to a run that can't be finished, because its folder is gone",
			Remedy: "pipeline unlock --force takes the lock away from it", Err: err}}.Err()
	case errors.Is(err, deploy.ErrSettled):
		return problem.Report{{Code: "unlock.settled", Subject: "run " + state.LastRun.ID, Detail: "can't be undone any more: its release is live",
			Remedy: "pipeline unlock --resume finishes it; pipeline rollback goes back to an earlier release", Err: err}}.Err()
	case errors.As(err, &failed) && verb == "undo" && failed.State != deploy.NeedsPerson:
		// That is what was asked for.
		c.log.Info().Str("site", failed.Site).Msg("everything was put back")
		return nil
	case err != nil:
		return err
	}
	c.log.Info().Str("version", record.Version).Msg("the run has come to its end")
	return nil
}

// unlockChoices returns what can be done about a run that waits.
func unlockChoices(run deploy.RunState) problem.Report {
	step := ""
	if run.Step != "" {
		step = ", at step " + run.Step
		if run.Undoing {
			step = ", while step " + run.Step + " was undone"
		}
	}
	remedy := "pipeline unlock --undo puts everything back, pipeline unlock --resume carries on; --force ends it where it is and takes the lock away"
	if run.Settled {
		remedy = "pipeline unlock --resume carries on; its release is live, and nothing is put back any more"
	}
	return problem.Report{{Code: "unlock.choose", Subject: "run " + run.ID, Detail: fmt.Sprintf("is %s%s", run.Status, step), Remedy: remedy}}
}

func by(owner string) string {
	if owner == "" {
		return ""
	}
	return ", started by " + owner
}
