package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// Unlock removes the deploy lock of a run whose process is gone. It does not
// look at what the run has left behind: resume or undo it first, if that is
// possible.
func Unlock(ctx context.Context, h Host, t Target, run string) error {
	_, err := h.Run(ctx, script(recordedScript+unlockScript, t.Dir, run), host.Options{})
	var ended *host.RunError
	if errors.As(err, &ended) {
		switch ended.Exit {
		case 44:
			return fmt.Errorf("unlock: run %s does not have the deploy lock", run)
		case 45:
			return fmt.Errorf("unlock: run %s is under way, see %s", run, layout{t.Dir}.log(run))
		}
	}
	if err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
