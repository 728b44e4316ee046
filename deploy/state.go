package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// State is what is on a host: what status shows, and what a plan starts from.
type State struct {
	// Docker and Compose are the versions of the engine and the plugin; empty
	// where there is none that answers. DockerError is the reason.
	Docker      string `json:"docker"`
	DockerError string `json:"docker_error,omitempty"`
	Compose     string `json:"compose"`
	// Time is the host's clock, in UTC.
	Time time.Time `json:"time"`
	// Unwritable is the folder in which nothing can be made, if that is so.
	Unwritable string `json:"unwritable,omitempty"`
	// Free and DockerFree are the bytes of room for the target's folder and
	// for Docker's images; -1 if not known.
	Free       int64 `json:"free_bytes"`
	DockerFree int64 `json:"docker_free_bytes"`

	// Current is the release that is live; nil if there is none on record.
	Current *release.Record `json:"current"`
	// Containers are those of the project.
	Containers []compose.Container `json:"containers"`
	// Sites are the sites of the running bench.
	Sites []string `json:"sites"`
	// Releases are the versions that the host has a release of.
	Releases []string `json:"releases"`
	// Backups are the runs that have left a backup.
	Backups []string `json:"backups,omitempty"`
	// OnlyCopies are those of them that hold what is nowhere else: rows that were
	// written before other data took their place.
	OnlyCopies []string `json:"only_copies,omitempty"`
	// NoCron says that the user has no crontab: after a restart of the host a
	// run does not go on by itself.
	NoCron bool `json:"no_cron,omitempty"`
	// Volumes are the volumes of all compose projects on the host, by project.
	Volumes map[string][]string `json:"volumes"`
	// MissingImages are images of the current release that are not on the
	// host any more, so that it could not be started again.
	MissingImages []string `json:"missing_images,omitempty"`

	// Lock is the deploy lock, if a run has it.
	Lock *Lock `json:"lock"`
	// LastRun is the run that has the lock, or else the newest one.
	LastRun *RunState `json:"last_run"`
	runs    []string
	// history are the releases that went live, newest first.
	history []release.Record
	// images are the images of releases, as the host names them, by version;
	// those that are not on the host are left out.
	images map[string]string
	// afterDumps are the runs that left a dump of what was written while a
	// release was live that was put back.
	afterDumps []string
}

// Lock is the deploy lock.
type Lock struct {
	// Run is the run that has it, and Status what that does.
	Run    string    `json:"run"`
	Status RunStatus `json:"status"`
	// Owner is who started the run, Since when.
	Owner string    `json:"owner,omitempty"`
	Since time.Time `json:"since"`
	PID   int       `json:"pid"`
}

// RunState is what a run is doing.
type RunState struct {
	ID     string    `json:"id"`
	Status RunStatus `json:"status"`
	// Step is the step that it is at, or was at when it was interrupted;
	// Undoing says that it puts everything back.
	Step    string `json:"step,omitempty"`
	Undoing bool   `json:"undoing,omitempty"`
}

// RunStatus is the runner's word for what a run is doing.
type RunStatus string

// What a run can be doing. Interrupted means that its process is gone before
// its end: the host was restarted, or the process was killed.
const (
	RunNotStarted  RunStatus = "not-started"
	RunRunning     RunStatus = "running"
	RunInterrupted RunStatus = "interrupted"
	RunDone        RunStatus = "done"
	RunUndone      RunStatus = "undone"
	RunHeld        RunStatus = "held"
)

// Inspect returns what is on the host. It changes nothing there.
func Inspect(ctx context.Context, h Host, t Target) (State, error) {
	if report := t.validate(); len(report) > 0 {
		return State{}, report.Err()
	}
	result, err := h.Run(ctx, script(recordedScript+inspectScript, t.Dir, t.Project), host.Options{})
	if err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	state, current, err := parseState(result.Stdout)
	if err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	if state.history, err = History(ctx, h, t); err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	state.OnlyCopies = state.onlyCopies()
	for i, r := range state.history {
		if r.Version == current && !r.Rollback {
			state.Current = &state.history[i]
		}
	}
	if current != "" && state.Current == nil {
		return State{}, fmt.Errorf("inspect host: the link current names release %s, which has no record of going live", current)
	}
	return state, nil
}

// parseState reads what inspect.sh printed. The current release is given by
// its version alone.
func parseState(output string) (state State, current string, err error) {
	sections := map[string]string{}
	name := ""
	for line := range strings.Lines(output) {
		if next, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "@"); ok {
			name = next
			continue
		}
		sections[name] += line
	}
	if name != "end" {
		return State{}, "", errors.New("its answer was cut off")
	}
	word := func(name string) string { return strings.TrimSpace(sections[name]) }
	lines := func(name string) []string { return strings.Fields(sections[name]) }
	kibibytes := func(name string) int64 {
		n, err := strconv.ParseInt(word(name), 10, 64)
		if err != nil {
			return -1
		}
		return n << 10
	}

	state = State{
		Docker: word("docker"), DockerError: word("docker-error"), Compose: strings.TrimPrefix(word("compose"), "v"),
		Free: kibibytes("free"), DockerFree: kibibytes("docker-free"),
		Releases: lines("releases"), Sites: bench.ParseSites(sections["sites"]), MissingImages: lines("missing-images"),
		Backups: lines("backups"), afterDumps: lines("after-dumps"), NoCron: word("cron") == "",
		runs: lines("runs"), Volumes: map[string][]string{}, images: map[string]string{},
	}
	if state.Docker != "" {
		// What a client that works has to say is no error.
		state.DockerError = ""
	}
	if state.Time, err = time.Parse(time.RFC3339, word("time")); err != nil {
		return State{}, "", fmt.Errorf("read the host's time: %w", err)
	}
	if unwritable, ok := strings.CutPrefix(word("writable"), "no: "); ok {
		state.Unwritable = unwritable
	}
	if state.Containers, err = compose.ParsePS(sections["containers"]); err != nil {
		return State{}, "", err
	}
	for line := range strings.Lines(sections["volumes"]) {
		if project, volume, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			state.Volumes[project] = append(state.Volumes[project], volume)
		}
	}
	for line := range strings.Lines(sections["images"]) {
		if version, image, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			state.images[version] = image
		}
	}
	if text := sections["lock"]; text != "" {
		state.Lock = parseLock(text, RunStatus(word("lock-run")))
	}
	if status := word("last-run"); status != "" && len(state.runs) > 0 {
		state.LastRun = &RunState{ID: slices.Max(state.runs), Status: RunStatus(status)}
	}
	if run := state.LastRun; run != nil {
		// Of the run that has the lock, or else of the last one.
		journal, err := runner.ParseJournal(sections["journal"])
		if err != nil {
			return State{}, "", err
		}
		if state.Lock != nil && state.Lock.Run != run.ID {
			run = &RunState{ID: state.Lock.Run, Status: state.Lock.Status}
			state.LastRun = run
		}
		if run.Status == RunRunning || run.Status == RunInterrupted || run.Status == RunHeld {
			run.Step, run.Undoing = journal.Last()
		}
	}
	return state, strings.TrimPrefix(word("current"), "releases/"), nil
}

// parseLock reads the lock file: lines of NAME=VALUE.
func parseLock(text string, status RunStatus) *Lock {
	lock := &Lock{Status: status}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "run":
			lock.Run = value
		case "by":
			lock.Owner = value
		case "since":
			lock.Since, _ = time.Parse(time.RFC3339, value)
		case "pid":
			lock.PID, _ = strconv.Atoi(value)
		}
	}
	if lock.Status == "" {
		// Its run is gone, and so is the runner that could go on with it.
		lock.Status = RunInterrupted
	}
	return lock
}
