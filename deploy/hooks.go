package deploy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// Hook is a program of the company's own that the host runs at a certain place
// of a release. It travels with the run, so that what is run is what was
// checked.
type Hook struct {
	// Name is the place, one of those that [ReadHooks] takes.
	Name string
	// Data is the program, for instance a script with its #! line.
	Data []byte
}

// hookNames are the places in the order in which a release comes by them.
var hookNames = []string{"before-deploy", "before-migrate", "after-migrate", "after-deploy", "before-rollback", "after-rollback"}

// maxHookBytes is the most that a hook may have: it is uploaded with every
// run, and a script is small.
const maxHookBytes = 1 << 20

// ReadHooks reads the hooks of a folder, in order of names. A file is a hook if
// it has the name of one; files called README and hidden ones may lie beside
// them, and nothing else: a hook with a mistyped name would never run, without
// a word. A folder that is not there has no hooks, and is a
// problem if it is required.
func ReadHooks(dir string, required bool) ([]Hook, problem.Report) {
	var report problem.Report
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !required:
		return nil, nil
	case err != nil:
		report.Add(problem.Problem{Code: "hooks.folder", Subject: dir, Detail: "can't be read: " + reason(err), Remedy: "name a folder with hooks", Err: err})
		return nil, report
	}
	var hooks []Hook
	for _, entry := range entries {
		name, place := entry.Name(), filepath.Join(dir, entry.Name())
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "README") {
			continue
		}
		if !slices.Contains(hookNames, name) {
			remedy := "hooks are " + strings.Join(hookNames, ", ")
			if near := problem.Nearest(name, hookNames); near != "" {
				remedy = "call it " + near + "; " + remedy
			}
			report.Addf("hooks.unknown", place, remedy, "is not the name of a hook, so it would never run")
			continue
		}
		if data, ok := readHook(place, &report); ok {
			hooks = append(hooks, Hook{Name: name, Data: data})
		}
	}
	return hooks, report
}

// readHook reads one hook. Everything that is wrong with it is reported.
func readHook(place string, report *problem.Report) ([]byte, bool) {
	// Not what the folder says of it: a hook may be a link to a script
	// elsewhere in the checkout.
	info, err := os.Stat(place)
	if err != nil {
		report.Add(problem.Problem{Code: "hooks.unreadable", Subject: place, Detail: "can't be read: " + reason(err), Remedy: "make it a file that you can read", Err: err})
		return nil, false
	}
	if !info.Mode().IsRegular() {
		report.Addf("hooks.unreadable", place, "put the program itself there", "is not a file")
		return nil, false
	}
	before := len(*report)
	// Windows has no such bit. On the host every hook is executable.
	if info.Mode().Perm()&0o111 == 0 && runtime.GOOS != "windows" {
		report.Addf("hooks.not-executable", place, "chmod +x "+place, "is not executable")
	}
	if info.Size() > maxHookBytes {
		report.Addf("hooks.too-big", place, "keep what it needs on the host or in the image, and call that", "has %d bytes, more than the %d that a hook may have", info.Size(), maxHookBytes)
	}
	if len(*report) > before {
		return nil, false
	}
	data, err := os.ReadFile(place)
	if err != nil {
		report.Add(problem.Problem{Code: "hooks.unreadable", Subject: place, Detail: "can't be read: " + reason(err), Remedy: "make it a file that you can read", Err: err})
		return nil, false
	}
	return data, true
}

// reason returns what of a file's error is not known: not its path again.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
