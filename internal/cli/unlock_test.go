package cli

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestUnlockChoices(t *testing.T) {
	for name, test := range map[string]struct {
		run    deploy.RunState
		detail string
	}{
		"at a step":      {deploy.RunState{Status: deploy.RunInterrupted, Step: "migrate"}, "is interrupted, at step migrate"},
		"while undoing":  {deploy.RunState{Status: deploy.RunHeld, Step: "migrate", Undoing: true}, "is held, while step migrate was undone"},
		"without a step": {deploy.RunState{Status: deploy.RunHeld}, "is held"},
		"which is live":  {deploy.RunState{Status: deploy.RunInterrupted, Step: "workers", Settled: true}, "is interrupted, at step workers"},
	} {
		t.Run(name, func(t *testing.T) {
			test.run.ID = "7-1.1.6"
			remedy := "pipeline unlock --undo puts everything back, pipeline unlock --resume carries on; --force ends it where it is and takes the lock away"
			if test.run.Settled {
				remedy = "pipeline unlock --resume carries on; its release is live, and nothing is put back any more"
			}
			isProblem(t, unlockChoices(test.run).Err(), problem.Problem{
				Code: "unlock.choose", Subject: "run 7-1.1.6", Detail: test.detail,
				Remedy: remedy,
			})
		})
	}
}

func TestUnlockTakesOneFlag(t *testing.T) {
	for _, o := range []unlockOptions{{}, {resume: true}, {undo: true}, {force: true}} {
		if err := o.validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := (unlockOptions{undo: true, force: true}).validate(); err == nil {
		t.Error("--undo and --force go together")
	}
}
