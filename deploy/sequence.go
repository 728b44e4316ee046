package deploy

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// step is one step of the sequence. What it does is steps/SCRIPT.do, and what
// undoes it steps/SCRIPT.undo if there is one: shell scripts that the host
// runs. They may run twice: a run that was interrupted begins again with the
// step it was at.
type step struct {
	// name is a verb.
	name string
	// doc says what it does, and undoDoc what undoing it does; empty where
	// there is nothing to undo.
	doc, undoDoc string
	// script is the script's name where it is not the step's.
	script string
	// hook is the executable of the user that the step runs.
	hook string
	// when says whether a run has the step at all; nil means always.
	when func(runSpec) bool
	// critical steps take the site down, switch to the new release or come
	// after that. From the first one on a run can't be stopped by request.
	critical bool
}

// sequence is what a run does on the host, in this order, under the deploy
// lock. When a step fails, it and all before it are undone, the newest first.
// Where undoing fails a person is needed, and the rest is left as it is: the
// sites stay in maintenance mode.
//
// The strategy cycle takes the old release down and then brings the new one up:
// there is one at a time. Services that hold data, and the proxy, stay up where
// both have them the same. The strategy swap asks that they are the same: new
// containers come up beside the old ones and take over. Whether databases have
// to be migrated is found out on the way (compare); where they need not, a swap
// closes no site.
var sequence = []step{
	{
		name: "stage", when: isRelease,
		doc:     "put the compose set, its .env and the record into releases/",
		undoDoc: "remove them",
	},
	{
		name: "stage", script: "restage", when: isRollback,
		doc: "look whether the release to go back to is there",
	},
	{
		name: "pull",
		doc:  "pull the image by its digest, and the other images that are missing",
		// Images that nothing uses do no harm.
	},
	{
		name: "check",
		doc:  "check the compose set, that all images of the new and the running release are there, and that there is room for a backup",
	},
	{name: "before-deploy", hook: "before-deploy", when: isRelease},
	{name: "before-rollback", hook: "before-rollback", when: isRollback},
	{
		name: "compare", when: hasPrevious,
		doc: "look whether a migration is needed: whether an app changed its patches, hooks, fixtures or document types",
	},
	{
		name: "watch", when: hasPrevious,
		doc:     "begin to measure whether the site answers",
		undoDoc: "end measuring",
	},

	{
		name: "bridge", when: hasPrevious,
		doc: "keep the assets of the running release within reach of the new one",
	},

	// From here on the site does less than usual.

	{
		name: "beside", when: isSwap,
		doc:     "bring the new backend and websocket up beside the running ones",
		undoDoc: "remove them",
	},
	{
		name: "drain", when: hasPrevious,
		doc:     "stop the scheduler, wait until jobs have ended, and stop the workers",
		undoDoc: "start them again",
	},
	{
		name: "maintenance", when: hasPrevious,
		doc:     "put the sites into maintenance mode",
		undoDoc: "empty the cache, put them back into the mode they were in, and wait until they answer",
	},
	{
		name: "switch", when: isSwap,
		doc:     "bring the new frontend up and have the proxy lead visitors there",
		undoDoc: "remove it, which leads them back",
	},
	{
		name: "quiesce", when: hasPrevious,
		doc: "have the workers do the jobs that came until the sites were closed",
	},
	{
		name: "backup", when: hasPrevious,
		doc: "dump the databases, and read the dumps back",
		// They stay: prune knows when they are no longer needed.
	},

	// From here on it is not available, or not the one it was.

	{
		name: "down", when: isCycle, critical: true,
		doc:     "take the running release down, but for the database and other services that this one has the same",
		undoDoc: "bring it up again, and wait until all of it is healthy",
	},
	{
		name: "up", when: isUp, critical: true,
		doc:     "bring the new release up, without its workers; the site is made if there is none",
		undoDoc: "take it down",
	},
	{
		name: "maintenance", when: isFirst, critical: true,
		doc:     "put sites that were there before into maintenance mode",
		undoDoc: "put them back into the mode they were in",
	},
	{
		name: "backup", when: isFirst, critical: true,
		doc: "dump the databases of sites that were there before, and read the dumps back",
	},
	{name: "before-migrate", hook: "before-migrate", when: isRelease, critical: true},
	{
		name: "migrate", when: isRelease, critical: true,
		doc:     "migrate each site",
		undoDoc: "put the databases back as they are in the backup",
	},
	{name: "after-migrate", hook: "after-migrate", when: isRelease, critical: true},
	{
		name: "restore", script: "bring-back", when: bringsBack, critical: true,
		doc:     "put the databases back as they were when the earlier release was replaced",
		undoDoc: "put them back as they are in the backup of this run",
	},
	{
		name: "verify", critical: true,
		doc: "wait until all is healthy, compare the apps' versions with the manifest, and ask for an asset through the proxy",
	},
	{
		name: "open", critical: true,
		doc:     "empty the cache, end maintenance mode and wait until each site answers through the proxy",
		undoDoc: "close the sites again, and save what was written since",
	},
	{
		name: "workers", when: isUp, critical: true,
		doc:     "start the workers and the scheduler",
		undoDoc: "remove them",
	},
	{
		name: "workers", script: "swap-workers", when: isSwap, critical: true,
		doc:     "start the new workers and scheduler in place of the old scheduler",
		undoDoc: "remove them, and start the old ones again",
	},
	{
		name: "settle", critical: true,
		doc: "wait until workers are at their queue and nothing is unwell",
	},
	{
		name: "retire", when: isSwap, critical: true,
		doc:     "stop and remove the containers of the release before",
		undoDoc: "bring them up again",
	},
	{
		name: recordStep, critical: true,
		doc:     "make the release the current one, and end measuring",
		undoDoc: "make the one before the current one again",
	},
	{name: "after-deploy", hook: "after-deploy", when: isRelease, critical: true},
	{name: "after-rollback", hook: "after-rollback", when: isRollback, critical: true},
	{
		name: "prune", when: prunes, critical: true,
		doc: "remove images and backups that no rollback needs any more",
	},
}

// recordStep is the step after which a release is the current one.
const recordStep = "record"

// runSpec is what a run is made from.
type runSpec struct {
	layout
	id       string
	number   int
	kind     Kind
	strategy string
	version  string
	// image is the image by its digest, as the host names it; tagged is its
	// name for people.
	image, tagged string
	project       string
	// previous is the version that is live; empty for a first release.
	previous   string
	sites      []string
	port       int
	drainLimit int // seconds
	files      bool
	// restoreFrom is the folder of the backup that a rollback brings back.
	restoreFrom string
	hooks       []Hook
	unneeded    Unneeded
}

func hasPrevious(l runSpec) bool { return l.previous != "" }
func isFirst(l runSpec) bool     { return l.previous == "" }
func isRollback(l runSpec) bool  { return l.kind == Rollback }
func isRelease(l runSpec) bool   { return l.kind == Release }
func isSwap(l runSpec) bool      { return l.previous != "" && l.strategy == Swap }
func isCycle(l runSpec) bool     { return l.previous != "" && l.strategy != Swap }
func isUp(l runSpec) bool        { return !isSwap(l) }
func bringsBack(l runSpec) bool  { return l.restoreFrom != "" }
func prunes(l runSpec) bool      { return !l.unneeded.Empty() }

// Kind is what a run is for.
type Kind string

// The kinds.
const (
	Release  Kind = "release"
	Rollback Kind = "rollback"
	Prune    Kind = "prune"
)

// The strategies.
const (
	Cycle = "cycle"
	Swap  = "swap"
)

// runStep is a step with the name of its files.
type runStep struct {
	step
	file string
}

// stepsOf are the steps that a run has.
func stepsOf(l runSpec) []runStep {
	var steps []runStep
	for i, s := range sequence {
		if s.when != nil && !s.when(l) || l.kind == Prune && s.name != "prune" {
			continue
		}
		if s.hook != "" {
			if !slices.ContainsFunc(l.hooks, func(h Hook) bool { return h.Name == s.hook }) {
				continue
			}
			s.doc = "run the hook " + s.hook
		}
		steps = append(steps, runStep{step: s, file: fmt.Sprintf("%03d-%s", (i+1)*10, s.name)})
	}
	return steps
}

// stepName gives the name of a step of which the file is known.
func stepName(file string) string {
	number, name, ok := strings.Cut(file, "-")
	if _, err := strconv.Atoi(number); err != nil || !ok {
		return file
	}
	return name
}

//go:embed steps
var stepFiles embed.FS

// stepFile is the text of a file in steps/; empty where there is none.
func stepFile(name string) string {
	text, err := stepFiles.ReadFile("steps/" + name)
	if err != nil {
		return ""
	}
	return string(text)
}

// shared are the files that steps read beside their own.
var shared = []string{"lib.sh", "site.py", "ask.sh", "assets.sh", "health.py", "inputs.sh", "route.sh", "versions.sh", "watch.sh"}

// runFiles are the files of a run's folder that its steps are made of, and the
// one that names the first critical step.
func runFiles(l runSpec) []host.File {
	var files []host.File
	add := func(name, text string, mode fs.FileMode) {
		files = append(files, host.File{Name: name, Mode: mode, Data: []byte(text)})
	}
	for _, name := range shared {
		add(name, stepFile(name), 0o600)
	}
	add("ground", "#!/bin/sh\n"+stepFile("ground.sh"), 0o600)
	add("settings", l.settings(), 0o600)
	for _, hook := range l.hooks {
		add("hooks/"+hook.Name, string(hook.Data), 0o700)
	}
	critical := ""
	for _, s := range stepsOf(l) {
		do, undo := s.scripts(l)
		add(s.file+".do", stepScript(s.doc, do), 0o600)
		if undo != "" {
			add(s.file+".undo", stepScript(s.undoDoc, undo), 0o600)
		}
		if s.critical && critical == "" {
			critical = s.file
		}
	}
	add("critical", critical+"\n", 0o600)
	return files
}

// scripts are the texts of a step's scripts.
func (s step) scripts(l runSpec) (do, undo string) {
	name := s.script
	if name == "" {
		name = s.name
	}
	switch {
	case s.hook != "":
		do = stepFile("hook.do") + "\"./hooks/" + s.hook + "\""
		if strings.HasPrefix(s.hook, "after-") {
			// What is done is done.
			do += ` || echo "warning: the hook ` + s.hook + ` ended with $?"`
		}
		return do + "\n", ""
	case s.name == recordStep:
		do = stepFile("record.do")
		if hasPrevious(l) {
			do += stepFile("watch.undo")
		}
		return do, stepFile("record.undo")
	}
	if name == "bring-back" {
		return stepFile("bring-back.do"), stepFile("migrate.undo")
	}
	return stepFile(name + ".do"), stepFile(name + ".undo")
}

// stepScript makes a script.
func stepScript(doc, text string) string {
	return "#!/bin/sh\n# This step: " + doc + ".\n. ./lib.sh\n\n" + text
}

// settings is what lib.sh reads.
func (l runSpec) settings() string {
	files := ""
	if l.files {
		files = "yes"
	}
	var text strings.Builder
	for _, pair := range [][2]string{
		{"dir", l.dir}, {"project", l.project}, {"id", l.id}, {"kind", string(l.kind)}, {"strategy", l.strategy},
		{"version", l.version}, {"previous", l.previous}, {"number", strconv.Itoa(l.number)},
		{"image", l.image}, {"tagged", l.tagged}, {"sites", strings.Join(l.sites, " ")}, {"port", strconv.Itoa(l.port)},
		{"drain_limit", strconv.Itoa(l.drainLimit)}, {"backup_files", files}, {"restore_from", l.restoreFrom},
		{"unneeded_versions", strings.Join(l.unneeded.Versions, " ")}, {"unneeded_backups", strings.Join(l.unneeded.Backups, " ")},
	} {
		text.WriteString(pair[0] + "=" + word(pair[1]) + "\n")
	}
	return text.String()
}

// word is one quoted word.
func word(s string) string { return host.Quote([]string{"-", s})[2:] }
