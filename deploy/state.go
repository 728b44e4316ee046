package deploy

import (
	"context"
	"errors"
	"fmt"
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
	// NoWaker says that neither systemd nor cron wakes a run: after a restart of
	// the host it does not go on by itself.
	NoWaker bool `json:"no_waker,omitempty"`
	// Unreadable are files on the host that are not whole, as after a power cut.
	Unreadable []string `json:"unreadable,omitempty"`
	// OnlyCopies are those of them that hold what is nowhere else: rows that were
	// written before other data took their place.
	OnlyCopies []string `json:"only_copies,omitempty"`
	// Volumes are the volumes of all compose projects on the host, by project.
	Volumes map[string][]string `json:"volumes"`
	// MissingImages are images of the current release that are not on the
	// host any more, so that it could not be started again.
	MissingImages []string `json:"missing_images,omitempty"`

	// Lock is the deploy lock, if a run has it.
	Lock *Lock `json:"lock"`
	// LastRun is the run that has the lock, or else the newest one that was
	// started.
	LastRun *RunState `json:"last_run"`
	runs    []string
	// newestStarted is the newest run that was started, currentLink what the link
	// current names.
	newestStarted, currentLink string
	// history are the releases that went live, newest first.
	history []release.Record
	// images are the images of releases, as the host names them, by version;
	// those that are not on the host are left out.
	images map[string]string
	// ports is what listens on the host, and reach what of it names lead to.
	ports ports
	reach reach
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
	// Settled says that its release is live, and that nothing is undone any more.
	Settled bool `json:"settled,omitempty"`
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
	result, err := h.Run(ctx, script(recordedScript+runner.WakeScript+inspectScript, append([]string{t.Dir, t.Project}, t.asksACME()...)...), host.Options{})
	if err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	state, err := parseState(result.Stdout)
	if err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	var unreadable []string
	if state.history, unreadable, err = History(ctx, h, t); err != nil {
		return State{}, fmt.Errorf("inspect host: %w", err)
	}
	state.Unreadable = append(state.Unreadable, unreadable...)
	current := state.currentVersion()
	state.OnlyCopies = state.onlyCopies()
	for i, r := range state.history {
		if r.Version == current && !r.Rollback {
			state.Current = &state.history[i]
		}
	}
	return state, nil
}

// currentVersion returns the version that the link current names; empty for none.
func (s State) currentVersion() string { return strings.TrimPrefix(s.currentLink, "releases/") }

// parseState reads what inspect.sh printed.
func parseState(output string) (state State, err error) {
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
		return State{}, errors.New("its answer was cut off")
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
		Backups: lines("backups"), afterDumps: lines("after-dumps"), NoWaker: word("waker") == "",
		runs: lines("runs"), currentLink: word("current"), Volumes: map[string][]string{}, images: map[string]string{},
	}
	if state.Docker != "" {
		// What a client that works has to say is no error.
		state.DockerError = ""
	}
	if state.Time, err = time.Parse(time.RFC3339, word("time")); err != nil {
		return State{}, fmt.Errorf("read the host's time: %w", err)
	}
	if unwritable, ok := strings.CutPrefix(word("writable"), "no: "); ok {
		state.Unwritable = unwritable
	}
	if state.Containers, err = compose.ParsePS(sections["containers"]); err != nil {
		return State{}, err
	}
	compose.Know(state.Containers, sections["services"])
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
	state.ports = parsePorts(sections["listening"], sections["published"])
	state.reach = parseReach(sections["addresses"], sections["names"], word("acme"))
	state.findRuns(sections)
	return state, nil
}

// findRuns reads which run has the lock and which was the last one. Neither need
// be whole: the host may have lost its power.
func (s *State) findRuns(sections map[string]string) {
	journal, torn := runner.ParseJournal(sections["journal"])
	if text := sections["lock"]; text != "" {
		s.Lock = parseLock(text)
		if s.Lock.Run == "" {
			s.Unreadable = append(s.Unreadable, "lock")
		}
		s.Lock.Status = RunInterrupted
		if s.Lock.Run != "" {
			s.Lock.Status = statusOf(sections["lock-run"], journal)
		}
		switch s.Lock.Status {
		case RunDone, RunUndone, RunNotStarted:
			// It was left by a run that was killed as it ended or began: no one has
			// it any more, and the next run takes it.
			s.Lock = nil
		}
	}
	id, word, _ := strings.Cut(sections["last-run"], "\n")
	s.newestStarted = id
	run := RunState{ID: id}
	switch {
	case s.Lock != nil && s.Lock.Run != "":
		run = RunState{ID: s.Lock.Run, Status: s.Lock.Status}
	case id == "":
		return
	default:
		run.Status = statusOf(word, journal)
	}
	s.LastRun = &run
	if torn > 0 && len(journal) == 0 && run.Status != RunDone && run.Status != RunUndone {
		s.Unreadable = append(s.Unreadable, "runs/"+run.ID+"/"+journalFile)
	}
	if run.Status == RunRunning || run.Status == RunInterrupted || run.Status == RunHeld {
		run.Step, run.Undoing = journal.Last()
		run.Settled = pastUndoing(journal, strings.TrimSpace(sections["settled"]))
	}
}

// statusOf returns the status that a runner named, or that the journal has of it
// where that runner can't say.
func statusOf(word string, journal runner.Journal) RunStatus {
	switch status := RunStatus(strings.TrimSpace(word)); status {
	case RunNotStarted, RunRunning, RunInterrupted, RunDone, RunUndone, RunHeld:
		return status
	}
	if outcome := journal.Outcome(); outcome != "" {
		return RunStatus(outcome)
	}
	return RunInterrupted
}

// parseLock reads the lock file: lines of NAME=VALUE.
func parseLock(text string) *Lock {
	lock := &Lock{}
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
	return lock
}
