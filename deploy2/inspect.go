package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// State is what is on a host.
type State struct {
	// Docker and Compose are the versions of the engine and the plugin; empty
	// where they do not answer.
	Docker  string `json:"docker"`
	Compose string `json:"compose"`
	// Free is the room on Docker's disk, in bytes; -1 where it is not known.
	Free int64 `json:"free_bytes"`
	// Current is the release that is live; nil for none.
	Current *release.Record `json:"current,omitempty"`
	// Live are all releases that ever went live, newest first.
	Live []release.Record `json:"-"`
	// Containers are those of the project.
	Containers []compose.Container `json:"containers"`
	// Lock is who holds the deploy lock; nil if it is free.
	Lock *Lock `json:"lock,omitempty"`
	// LastRun is the newest run, and how it ended or that it is under way.
	LastRun   string `json:"last_run,omitempty"`
	LastState string `json:"last_state,omitempty"`

	// nextRun is the number of the next run.
	nextRun int
	// denied is what docker said when it did not answer.
	denied string
	// writable says whether the target's folder can be made and written to.
	writable error
}

// Lock is the deploy lock.
type Lock struct {
	Run   string `json:"run"`
	Since string `json:"since"`
}

// needed is the room that a release needs at the least: an image of this kind
// has about 2 GB unpacked, and its layers are there twice while they are.
const needed = 3 << 30

// Inspect looks at a host. It changes nothing.
func Inspect(ctx context.Context, h *host.Host, t Target) (State, error) {
	s := State{Free: -1}
	version, err := text(ctx, h, "docker", "version", "--format", "{{.Server.Version}}")
	var failed *host.RunError
	switch {
	case errors.As(err, &failed):
		s.denied = strings.TrimSpace(failed.Stderr)
		return s, nil
	case err != nil:
		return s, err
	}
	s.Docker = version
	if s.Compose, err = text(ctx, h, "docker", "compose", "version", "--short"); err != nil {
		if !errors.As(err, &failed) {
			return s, err
		}
		return s, nil
	}
	if s.Free, err = freeBytes(ctx, h); err != nil {
		return s, err
	}
	// mkdir -p changes nothing where the folder is there, and leaves nothing of
	// meaning where it was not.
	if _, err := h.Run(ctx, []string{"sh", "-c", `mkdir -p -- "$1" && [ -w "$1" ]`, "sh", t.Dir}, host.Options{}); err != nil {
		if !errors.As(err, &failed) {
			return s, err
		}
		s.writable = err
		return s, nil
	}
	listed, err := text(ctx, h, compose.PSOf(t.Project)...)
	if err != nil {
		return s, err
	}
	if s.Containers, err = compose.ParsePS(listed); err != nil {
		return s, err
	}
	return s, s.readReleases(ctx, h, t)
}

// readReleases reads what earlier runs left.
func (s *State) readReleases(ctx context.Context, h *host.Host, t Target) error {
	// One look at all of it: a release that goes live meanwhile is in the list
	// or is not, but nothing is read half.
	listing, err := text(ctx, h, "sh", "-c", `cd -- "$1" || exit
[ ! -L current ] || echo "current $(readlink current)"
for live in releases/*/live; do [ ! -f "$live" ] || echo "live ${live%/live} $(cat "$live")"; done
for run in runs/*/; do [ ! -d "$run" ] || echo "run $run"; done
[ ! -f lock ] || echo "lock $(sed -n 's/^run=//p' lock) $(sed -n 's/^since=//p' lock)"`, "sh", t.Dir)
	if err != nil {
		return err
	}
	current := ""
	type live struct{ version, run string }
	var lives []live
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		switch {
		case len(words) >= 2 && words[0] == "current":
			current = path.Base(words[1])
		case len(words) == 3 && words[0] == "live":
			lives = append(lives, live{path.Base(words[1]), words[2]})
		case len(words) == 2 && words[0] == "run":
			id := path.Base(words[1])
			number, _, _ := strings.Cut(id, "-")
			if n, err := strconv.Atoi(number); err == nil && n >= s.nextRun {
				s.nextRun, s.LastRun = n, id
			}
		case len(words) >= 2 && words[0] == "lock":
			s.Lock = &Lock{Run: words[1], Since: strings.Join(words[2:], " ")}
		}
	}
	s.nextRun++
	slices.SortFunc(lives, func(a, b live) int { return strings.Compare(b.run, a.run) })
	for _, one := range lives {
		record, err := readRecord(ctx, h, t, one.version)
		if err != nil {
			return err
		}
		s.Live = append(s.Live, record)
		if one.version == current {
			s.Current = &record
		}
	}
	if current != "" && s.Current == nil {
		return fmt.Errorf("%s names release %s, which has no record", t.current(), current)
	}
	if s.LastRun != "" {
		if s.LastState, err = text(ctx, h, runner.Command(t.run(s.LastRun), "status")...); err != nil {
			return err
		}
	}
	return nil
}

func readRecord(ctx context.Context, h *host.Host, t Target, version string) (release.Record, error) {
	var record release.Record
	name := path.Join(t.release(version), recordFile)
	data, err := h.ReadFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return record, fmt.Errorf("read %s: it is not there, though the release went live", name)
	}
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return record, fmt.Errorf("read %s: %w", name, err)
	}
	return record, nil
}

// freeBytes is the room on the disk with Docker's data, or -1 where this user
// can't look.
func freeBytes(ctx context.Context, h *host.Host) (int64, error) {
	out, err := text(ctx, h, "sh", "-c", `df -Pk -- "$(docker info --format '{{.DockerRootDir}}')" 2>/dev/null || df -Pk /`)
	if err != nil {
		return -1, err
	}
	fields := strings.Fields(lastLine(out))
	if len(fields) < 4 {
		return -1, nil
	}
	blocks, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return -1, nil
	}
	return blocks << 10, nil
}

// text runs a command and gives what it printed.
func text(ctx context.Context, h *host.Host, argv ...string) (string, error) {
	result, err := h.Run(ctx, argv, host.Options{})
	return strings.TrimSpace(result.Stdout), err
}

func lastLine(s string) string { return s[strings.LastIndex(s, "\n")+1:] }

// Problems are the reasons why a version can't be released to a host in this
// state.
func (s State) Problems(t Target, version string) problem.Report {
	var report problem.Report
	switch {
	case s.Docker == "":
		report.Addf("host.docker", "host", "install Docker on the host, start it, and let the user be in the group docker", "docker does not answer: %s", lastLine(s.denied))
		return report
	case s.Compose == "":
		report.Addf("host.compose", "host", "install the compose plugin (docker-compose-plugin) on the host", "docker has no compose plugin")
		return report
	case s.writable != nil:
		report.Addf("host.folder", "DEPLOY_DIR "+t.Dir, "make the folder on the host and give it to the user", "can't be written to by the user on the host")
		return report
	}
	if s.Free >= 0 && s.Free < needed {
		report.Addf("host.disk", "host", "make room, for instance with docker image prune", "has %.1f GB free on Docker's disk; a release needs %.1f GB", float64(s.Free)/(1<<30), float64(needed)/(1<<30))
	}
	if s.Lock != nil {
		report.Addf("host.locked", "host", "wait until that run has ended: pipeline status shows it", "run %s holds the deploy lock since %s", s.Lock.Run, s.Lock.Since)
	} else if s.LastState == string(runner.Held) || s.LastState == "interrupted" {
		report.Addf("host.unfinished", "host", "see "+path.Join(t.run(s.LastRun), "journal")+" on the host, then run there: sh "+path.Join(t.run(s.LastRun), runner.Name)+" resume, or undo",
			"run %s is %s", s.LastRun, s.LastState)
	}
	for _, record := range s.Live {
		if record.Version == version {
			report.Addf("host.version-taken", "DE_SITE_VERSION "+version, "increment DE_SITE_VERSION; a version names one image forever", "was released to this host already, on %s", record.FinishedAt.UTC().Format("2006-01-02"))
		}
	}
	switch {
	case s.Current != nil && s.Current.Project != t.Project:
		report.Addf("host.project", "COMPOSE_PROJECT_NAME "+t.Project, "set COMPOSE_PROJECT_NAME="+s.Current.Project, "%s on the host belongs to the project %s: another name would start with new, empty volumes", t.Dir, s.Current.Project)
	case s.Current == nil && len(s.Containers) > 0:
		report.Addf("host.unrecorded", "project "+t.Project, "take it down with the compose files that it came up with (docker compose -p "+t.Project+" -f … down; the volumes stay), then release",
			"runs on the host, but was not brought up by the pipeline, so nobody here knows with which compose files")
	}
	return report
}
