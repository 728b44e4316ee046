package apps

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"
)

// cache is a folder with answers that never change; an empty one keeps none.
//
// It is per user, and only its owner may read it: it holds contents of private
// repositories, and returns them without asking for a token again.
type cache string

// touchEvery is how old the time of a file becomes before a use renews it.
const touchEvery = 24 * time.Hour

// get returns what was kept under a name. What can't be read or is not what was
// written counts as absent. The file's time is when it was last used, to the day.
func (c cache) get(name string) ([]byte, bool) {
	if c == "" {
		return nil, false
	}
	file := filepath.Join(string(c), name)
	kept, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > touchEvery {
		_ = os.Chtimes(file, time.Time{}, time.Now()) // where it can't be touched it is fetched again
	}
	sum, data, _ := bytes.Cut(kept, []byte("\n"))
	return data, string(sum) == checksum(data)
}

// put keeps data under a name, a path within the folder. Another process may
// put the same at the same time.
func (c cache) put(name string, data []byte) error {
	if c == "" {
		return nil
	}
	file := filepath.Join(string(c), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	// CreateTemp makes it owner-only.
	partial, err := os.CreateTemp(filepath.Dir(file), "partial-*")
	if err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	_, err = partial.Write(append([]byte(checksum(data)+"\n"), data...))
	if err = errors.Join(err, partial.Close()); err == nil {
		err = os.Rename(partial.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("keep answer: %w", errors.Join(err, os.Remove(partial.Name())))
	}
	return nil
}

// keep is put where the next run only takes longer without it.
func (c cache) keep(log zerolog.Logger, name string, data []byte) {
	if err := c.put(name, data); err != nil {
		log.Debug().Err(err).Msg("an answer is not kept")
	}
}

// PruneCache removes the files of a cache, see GitHubOptions.CacheDir, that were last
// used before a time, and returns how many. Folders stay. Another process may do the
// same, or use them, at the same time: what is gone is fetched again.
func PruneCache(dir string, before time.Time) (removed int, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			return ignoreMissing(err)
		}
		if err := os.Remove(path); err != nil {
			return ignoreMissing(err)
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("prune answers: %w", err)
	}
	return removed, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
