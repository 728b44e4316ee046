package deploy

import (
	"embed"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

// step is one thing that a run does on the host. What it does is
// steps/SCRIPT.do, and what undoes it steps/SCRIPT.undo if there is one: shell
// scripts that the host runs. They may run twice: a run that was interrupted
// begins again with the step it was at.
type step struct {
	// name is a verb.
	name string
	// does says what it does, and undo what undoing it does; undo is empty
	// where there is nothing to undo.
	does, undo string
	// remedy says what to do where it fails in the settled part of a run, in
	// which nothing is undone.
	remedy string
	// script is the scripts' name where it is not the step's.
	script string
	// needed reports whether a run has the step; nil means that every run of
	// the strategy has it.
	needed func(runSpec) bool
}

// Before the site does less than usual.
var (
	stage = step{name: "stage",
		does: "put the compose set, its .env and the record into releases/",
		undo: "remove them"}
	checkRelease = step{name: "check-release",
		does: "look whether the release to go back to is there"}
	pull = step{name: "pull",
		does: "pull the image by its digest, and the other images that are missing",
		undo: "remove the image, if it did not pass its smoke test"}
	check = step{name: "check",
		does: "check the compose set, that all images of the new and the running release are there, that the database of every site of the bench can be dumped and put back and data services that change have a way back, that there is room for that, and that the running site can be asked"}
	compare = step{name: "compare",
		does: "look whether a migration is needed: whether an app changed what a migration reads or runs"}
	awaitSmokeTest = step{name: AwaitSmokeTest, needed: isUntested,
		does: "wait until the image has passed its smoke test, where that is still under way; until then nothing that runs is changed"}
	measureDowntime = step{name: "measure-downtime",
		does: "begin to measure whether the site answers",
		undo: "end measuring"}
	keepAssets = step{name: "keep-assets",
		does: "keep the assets of the running release within reach of the new one"}
	startNew = step{name: "start-new",
		does: "bring the new backend and websocket up beside the running ones",
		undo: "remove them"}
)

// While the sites are being closed.
var (
	drain = step{name: "drain",
		does: "stop the scheduler, wait until jobs have ended, and stop the workers",
		undo: "start them again"}
	maintenance = step{name: "maintenance",
		does: "put the sites into maintenance mode, and wait until what was under way has ended",
		undo: "empty the cache, put them back into the mode they were in, and wait until they answer"}
	switchProxy = step{name: "switch",
		does: "have the new servers make pages, bring the new frontend up and have the proxy lead visitors there",
		undo: "remove it, which leads them back"}
	drainRest = step{name: "drain-rest",
		does: "have the workers do the jobs that came until the sites were closed"}
	// The dumps stay: prune knows when they are no longer needed.
	backup = step{name: "backup",
		does: "end sessions of others at the databases, dump them, and read the dumps back"}
	stopOld = step{name: "stop-old",
		does: "stop the old backend and frontend, where the sites are closed: what does not run does not write",
		undo: "stop the new ones, empty the cache, start them again, and wait until they are healthy"}
)

// While the release takes over.
var (
	down = step{name: "down",
		does: "take the running release down, but for the database and other services that this one has the same",
		undo: "empty the cache, bring it up again, and wait until all of it is healthy"}
	up = step{name: "up",
		does: "bring the new release up, without its workers",
		undo: "take it down"}
	migrate = step{name: "migrate",
		does: "empty the cache and migrate each site",
		undo: "put the databases back as they are in the backup"}
	restore = step{name: "restore", needed: bringsDataBack,
		does: "put the databases back as they were when the earlier release was replaced",
		undo: "put them back as they are in the backup of this run"}
	verify = step{name: "verify",
		does: "wait until all is healthy, compare the apps' versions with the manifest, and ask for an asset through the proxy"}
	putCertificate = step{name: "put-certificate", needed: givesCertificate,
		does: "give the proxy its certificate, which it takes without being started again",
		undo: "put the one before back"}
	awaitCertificate = step{name: "await-certificate", needed: wantsCertificate,
		does: "wait until each domain has its certificate; a release that brings https to a running site and gets none is undone, else it is a warning"}
	setURL = step{name: "set-url", needed: hasURLs,
		does: "have links in mails lead to the site's address, unless an operator has set one",
		undo: "set the one before again"}
	open = step{name: "open",
		does: "empty the cache, end maintenance mode and wait until each site answers through the proxy",
		undo: "close the sites again, and save what was written since"}
	record = step{name: recordStep,
		does: "make the release the current one",
		undo: "make the one before the current one again"}
)

// While the release is live.
var (
	workers = step{name: "workers",
		does:   "start the workers and the scheduler",
		remedy: "jobs are not done: pipeline status shows which workers do not run, pipeline logs queue-short and scheduler why; release again or roll back if they can't"}
	swapWorkers = step{name: "workers", script: "swap-workers",
		does:   "start the new workers and scheduler in place of the old scheduler",
		remedy: workers.remedy}
	awaitWorkers = step{name: "await-workers",
		does:   "wait until workers are at their queue and nothing is unwell",
		remedy: "jobs may not be done: pipeline status shows what is unwell, pipeline logs queue-short why"}
	retire = step{name: "retire",
		does:   "stop and remove the containers of the release before",
		remedy: "containers of the release before may be left: pipeline status shows them, docker rm --force on the host removes them"}
	endMeasuring = step{name: "end-measuring",
		does:   "end measuring whether the site answers",
		remedy: "a container with -watch- in its name may be left: docker rm --force on the host removes it"}
	prune = step{name: "prune", needed: hasUnneeded,
		does:   "remove images and backups that no rollback needs any more",
		remedy: "they take up room until the next release, or until: pipeline prune"}
)

// In a first release: sites may be there from before the pipeline.
var (
	startData = step{name: "start-data",
		does: "bring the database and other services that hold data up, and look whether sites are there from before",
		undo: "take them down"}
	upFirst = step{name: "up", script: "up-first",
		does: up.does + "; the site is made if there is none",
		undo: up.undo}
	maintenanceFirst = step{name: "maintenance",
		does: "put sites that were there before into maintenance mode",
		undo: "put them back into the mode they were in"}
	backupFirst = step{name: "backup",
		does: "dump the databases of sites that were there before, and read the dumps back"}
)

// The company's own programs, see [Hook].
var (
	beforeDeploy   = hookStep("before-deploy")
	beforeMigrate  = hookStep("before-migrate")
	afterMigrate   = hookStep("after-migrate")
	afterDeploy    = hookStep("after-deploy")
	beforeRollback = hookStep("before-rollback")
	afterRollback  = hookStep("after-rollback")
)

// hookStep is the step that runs the hook of a name.
func hookStep(name string) step {
	return step{name: name, script: "hook", does: "run the hook " + name,
		remedy: "the log of the run has what it said; run it by hand when the cause is gone",
		needed: func(r runSpec) bool {
			return slices.ContainsFunc(r.hooks, func(h Hook) bool { return h.Name == name })
		}}
}

func bringsDataBack(r runSpec) bool { return r.restoreFrom != "" }
func isUntested(r runSpec) bool     { return r.untested }
func hasURLs(r runSpec) bool        { return len(r.urls) > 0 || r.hadURLs }
func givesCertificate(r runSpec) bool {
	return r.kind == Release && r.tls.Mode == compose.TLSFiles
}
func wantsCertificate(r runSpec) bool { return r.kind == Release && r.tls.Ends() }
func hasUnneeded(r runSpec) bool      { return !r.unneeded.Empty() }

// AwaitSmokeTest is the name of the step in which a run waits for its image to pass the
// smoke test.
const AwaitSmokeTest = "await-smoke-test"

// recordStep is the name of the step after which a release is the current one.
const recordStep = "record"

// remedyFor returns what to do where the step of a name failed in the settled
// part of a run.
func remedyFor(name string) string {
	for _, s := range []strategy{first, cycle, swap, rollbackCycle, rollbackSwap} {
		for _, one := range s.settled {
			if one.name == name {
				return one.remedy
			}
		}
	}
	return "the log of the run has what it said"
}

// stepName returns the name of a step of which the file is known.
func stepName(file string) string {
	number, name, ok := strings.Cut(file, "-")
	if _, err := strconv.Atoi(number); err != nil || !ok {
		return file
	}
	return name
}

//go:embed steps
var stepFiles embed.FS

// stepFile returns the text of a file in steps/; empty where there is none.
func stepFile(name string) string {
	text, err := stepFiles.ReadFile("steps/" + name)
	if err != nil {
		return ""
	}
	return string(text)
}

// scripts returns the texts of the step's scripts; undo is empty where there is
// nothing to undo.
func (s step) scripts() (do, undo string) {
	name := s.script
	if name == "" {
		name = s.name
	}
	return stepFile(name + ".do"), stepFile(name + ".undo")
}
