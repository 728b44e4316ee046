package deploy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
)

// HostState is what a failed release leaves behind.
type HostState string

const (
	// NothingChanged means that the site was never touched.
	NothingChanged HostState = "nothing changed"
	// RolledBack means that the site was touched, and is as it was before.
	RolledBack HostState = "rolled back"
	// NeedsPerson means that the operator has to look: the site is held, or it
	// is not known what became of it.
	NeedsPerson HostState = "needs a person"
)

// FailedError is a release that did not go live.
type FailedError struct {
	State HostState
	// Kind is what the run was for.
	Kind Kind
	// Version is what was to go live.
	Version string
	// Step is the step that failed, if it is known, and Exit its exit code.
	Step string
	Exit int
	// Detail says more about the reason: the end of the step's output.
	Detail string
	// Site is a sentence that says what state the site is in.
	Site string
	// Patch is the patch that failed, if it was one.
	Patch *bench.Patch
	// Log is the path of the run's log on the host; empty where there is none.
	Log string
	// Notes are what else the operator has to know.
	Notes []string
	// Next are commands for the host, or what else to do next.
	Next []string
	// Err is the underlying error, if there is one.
	Err error
}

// Error returns what happened, what state the site is in, what to do next and
// where the log is.
func (f *FailedError) Error() string {
	var b strings.Builder
	switch f.Kind {
	case Rollback:
		fmt.Fprintf(&b, "the rollback to %s did not succeed", f.Version)
	case Prune:
		b.WriteString("pruning did not succeed")
	default:
		fmt.Fprintf(&b, "release %s did not go live", f.Version)
	}
	switch {
	case f.Patch != nil:
		fmt.Fprintf(&b, ": patch %s failed", f.Patch)
	case f.Step != "" && f.Exit != 0:
		fmt.Fprintf(&b, ": step %s failed with exit code %d", f.Step, f.Exit)
	case f.Step != "":
		fmt.Fprintf(&b, ": step %s failed", f.Step)
	}
	if f.Err != nil {
		fmt.Fprintf(&b, ": %v", f.Err)
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, "\n    %s", strings.ReplaceAll(strings.TrimSpace(f.Detail), "\n", "\n    "))
	}
	fmt.Fprintf(&b, "\n  site: %s", f.Site)
	for _, note := range f.Notes {
		fmt.Fprintf(&b, "\n  note: %s", strings.ReplaceAll(note, "\n", "\n    "))
	}
	for _, next := range f.Next {
		fmt.Fprintf(&b, "\n  next: %s", next)
	}
	if f.Log != "" {
		fmt.Fprintf(&b, "\n  log: %s on the host", f.Log)
	}
	return b.String()
}

// Unwrap returns the underlying error.
func (f *FailedError) Unwrap() error { return f.Err }

// ErrInterrupted is a release that was stopped by request before anything was
// changed on the host.
var ErrInterrupted = errors.New("interrupted: nothing was changed on the host")
