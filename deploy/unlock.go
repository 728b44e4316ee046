package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// unlockLimit is how long the host has for that: it waits for processes to end.
const unlockLimit = 2 * time.Minute

// Unlock ends a run, whatever it is doing, and removes its deploy lock: its
// runner and the step under way. What runs in containers by then goes on there.
// It does not look at what the run has left behind: resume or undo it first, if
// that is possible. A lock that can't be read is that of the run "".
//
// The context does not end it: half of it would leave a run that nothing wakes.
func Unlock(ctx context.Context, h Host, t Target, run string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockLimit)
	defer cancel()
	text := recordedScript + runner.ProcessesScript + runner.WakeScript + unlockScript
	result, err := h.Run(ctx, script(text, t.Dir, run), host.Options{})
	var ended *host.RunError
	if errors.As(err, &ended) {
		switch ended.Exit {
		case 44:
			return fmt.Errorf("unlock: run %s does not have the deploy lock", run)
		case 45:
			return fmt.Errorf("unlock: process %s of run %s can't be ended; the lock is left: end it on the host as its user, or as root, see %s",
				strings.TrimSpace(result.Stdout), run, layout{t.Dir}.log(run))
		}
	}
	if err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}
