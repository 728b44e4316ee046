package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// stagesKept is how long stages stay that no build uses, where nobody says it.
const stagesKept = 30 * 24 * time.Hour

// days reads a number of days, for instance "30d".
func days(text string) (time.Duration, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "d"))
	if err != nil || n < 1 || n > 3650 {
		return 0, fmt.Errorf("%w: --older-than takes a number of days from 1d to 3650d, not %q", errUsage, text)
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

// retention returns which stages stay: those used within a time, and those of the
// releases that can be gone back to.
func retention(in inputs, unused time.Duration) registry.Retention {
	return registry.Retention{Since: time.Now().Add(-unused), Versions: in.config.Target.KeepReleases + 1}
}

// pruneStages removes stages from the registry that no build has used for long. What
// goes is the result.
func (c *cli) pruneStages(ctx context.Context, o pruneOptions) error {
	unused, err := days(o.olderThan)
	if err != nil {
		return err
	}
	in, report := c.readInputs(ctx, o.globalFlags, config.RegistryAccess)
	if err := report.Err(); err != nil {
		return err
	}
	r, err := openRegistries(ctx, in, config.RegistryAccess)
	if err != nil {
		return err
	}
	defer r.close()
	found, err := c.findUnused(ctx, r.target, retention(in, unused))
	if err != nil {
		return err
	}
	if len(found.Stages) == 0 {
		c.log.Info().Msg("nothing to remove")
		return nil
	}
	for _, tag := range found.Stages {
		fmt.Fprintln(c.out, tag)
	}
	c.log.Info().Int("stages", len(found.Stages)).Str("size", megabytes(found.Size)).Msg("not used for " + o.olderThan)
	if err := c.approve(ctx, o.yesFlag, "Remove these?"); err != nil {
		return err
	}
	remove := func(ctx context.Context) error {
		// A build may have used some while the question stood.
		now, err := registry.FindUnused(ctx, r.target, retention(in, unused))
		if err != nil {
			return err
		}
		removed, err := registry.RemoveUnused(ctx, r.target, now.Only(found.Stages))
		if len(removed) > 0 {
			c.log.Info().Int("stages", len(removed)).Msg("removed")
		}
		return err
	}
	if r.target.Host != r.embedded.Address() {
		if err := remove(ctx); err != nil {
			return err
		}
		c.log.Info().Msg("a registry has the room again when it has collected its garbage")
		return nil
	}
	freed, err := r.embedded.Collect(ctx, remove)
	if errors.Is(err, registry.ErrInUse) {
		return problem.Report{{Code: "registry.in-use", Subject: "stages", Detail: "are not removed: " + err.Error(), Remedy: "try again when it has ended", Err: err}}.Err()
	}
	if err == nil {
		c.log.Info().Str("freed", megabytes(freed)).Msg("removed what only these needed")
	}
	return err
}

// findUnused finds the stages that are to go. Those of which it is not known when they
// were used count as used today.
func (c *cli) findUnused(ctx context.Context, target registry.Target, r registry.Retention) (registry.Unused, error) {
	found, err := registry.FindUnused(ctx, target, r)
	if err != nil || len(found.Unknown) == 0 {
		return found, err
	}
	c.log.Info().Int("stages", len(found.Unknown)).Msg("not known when these were used: their time begins today")
	return found, registry.NoteUse(ctx, target, "", found.Unknown, time.Now())
}

// megabytes renders a number of bytes.
func megabytes(size int64) string { return fmt.Sprintf("%.1f MB", float64(size)/1e6) }
