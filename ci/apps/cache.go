package apps

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// cache is a folder with answers that never change; an empty one keeps none.
//
// It is per user, and only its owner may read it: it holds contents of private
// repositories, and returns them without asking for a token again.
type cache string

// get returns what was kept under a name. What can't be read or is not what was
// written counts as absent.
func (c cache) get(name string) ([]byte, bool) {
	if c == "" {
		return nil, false
	}
	kept, err := os.ReadFile(filepath.Join(string(c), name))
	if err != nil {
		return nil, false
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

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
