package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// tidyEvery is how often this machine's cache is tidied up, and answersKept how long
// GitHub's answers stay there that no build asks for.
const (
	tidyEvery   = 24 * time.Hour
	answersKept = 90 * 24 * time.Hour
	// leftoversKept is longer than any build takes.
	leftoversKept = 7 * 24 * time.Hour
)

// leftover is a folder that os.MkdirTemp made for a run: with layers, or with git's
// objects and a key.
var leftover = regexp.MustCompile(`^(` + scratchPrefix + `|` + apps.GitScratch + `)[0-9]+$`)

// removeLeftovers removes the folders of runs that were killed. Others' are not this
// user's to remove.
func removeLeftovers(dir string, before time.Time) {
	found, _ := os.ReadDir(dir)
	for _, entry := range found {
		path := filepath.Join(dir, entry.Name())
		if !leftover.MatchString(entry.Name()) {
			continue
		}
		if info, err := os.Lstat(path); err == nil && info.IsDir() && info.ModTime().Before(before) {
			_ = os.RemoveAll(path)
		}
	}
}

// tidy removes from the user's cache what was not used for long: nobody else does.
// What it can't do is of no account for the release that has just ended.
func (c *cli) tidy(ctx context.Context, in inputs, r registries) {
	stamp := filepath.Join(in.cache, "tidied")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < tidyEvery {
		return
	}
	stages, freed, err := c.tidyImages(ctx, in, r.embedded)
	if errors.Is(err, registry.ErrNoLock) {
		err = nil
	}
	if errors.Is(err, registry.ErrInUse) {
		c.log.Debug().Err(err).Msg("the cache is not tidied up")
		return
	}
	answers, answersErr := apps.PruneCache(filepath.Join(in.cache, "commits"), time.Now().Add(-answersKept))
	removeLeftovers(os.TempDir(), time.Now().Add(-leftoversKept))
	err = errors.Join(err, answersErr, os.WriteFile(stamp, nil, 0o600))
	if err != nil && ctx.Err() == nil {
		c.log.Warn().Err(err).Msg("the cache in " + in.cache + " is not tidied up")
	}
	if stages > 0 || freed > 0 || answers > 0 {
		c.log.Info().Int("stages", stages).Int("answers", answers).Str("freed", megabytes(freed)).Msg("removed from " + in.cache + " what no build has used for long")
	}
}

// tidyImages removes stages from the embedded registry, and what no tag leads to.
func (c *cli) tidyImages(ctx context.Context, in inputs, embedded *registry.Embedded) (stages int, freed int64, err error) {
	freed, err = embedded.Collect(ctx, func(ctx context.Context) error {
		targets, err := embedded.Targets(ctx)
		if err != nil {
			return err
		}
		for _, target := range targets {
			found, err := registry.FindUnused(ctx, target, retention(in, stagesKept))
			if err == nil && len(found.Unknown) > 0 {
				err = registry.NoteUse(ctx, target, "", found.Unknown, time.Now())
			}
			if err != nil {
				return err
			}
			removed, err := registry.RemoveUnused(ctx, target, found)
			stages += len(removed)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return stages, freed, err
}
