// Package runner holds the program that carries out a run on the host by
// itself, and reads what it writes down.
//
// The program is a POSIX shell script, because a shell is what every host has;
// its head says how it works. It lies in the folder of each run, so that a run
// is finished by the program that it was begun with.
package runner

import (
	_ "embed"
	"path"
)

// The program, and the functions that it has beside it: which processes belong
// to a run, and what wakes one. What the client runs on the host directly has
// them too.
var (
	//go:embed runner.sh
	Script string
	//go:embed processes.sh
	ProcessesScript string
	//go:embed wake.sh
	WakeScript string
)

// Name is the program's file name in the folder of a run.
const Name = "runner"

// Files returns the program as it lies in the folder of a run: texts by their
// names.
func Files() map[string]string {
	return map[string]string{Name: Script, "processes.sh": ProcessesScript, "wake.sh": WakeScript}
}

// Exit codes of the program.
const (
	ExitDone    = 0
	ExitUndone  = 3
	ExitHeld    = 4
	ExitRefused = 10
)

// Command returns the argument vector for a verb on the run in a folder.
func Command(dir, verb string) []string { return []string{"sh", path.Join(dir, Name), verb} }
