package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// configureCgroups writes the part of the engine's configuration that its own
// file does not cover: containers get their control groups below a group of
// this engine's, where they can be found again.
func configureCgroups(file, parent string) error {
	config := fmt.Sprintf("[worker.oci]\ndefaultCgroupParent = %q\n", "/"+parent)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure control groups: %w", err)
	}
	return nil
}

// forgetCgroups removes a control group with all below it, in every hierarchy.
// No process may be in it.
func forgetCgroups(parent string) {
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + parent)
	split, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
	for _, top := range append(unified, split...) {
		var groups []string
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		// A group goes when none is left below it; its files don't count.
		for _, group := range slices.Backward(groups) {
			_ = os.Remove(group)
		}
	}
}
