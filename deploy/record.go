package deploy

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// What is known of a release before it goes live is in its release.json. How
// it went is in its run's journal and, while the site was watched, in the
// file watch: the host writes them without the client. A record is put
// together from all three whenever it is read.
const (
	recordFile  = "release.json"
	journalFile = "journal"
	watchFile   = "watch"
)

// ErrNoRelease says that there is no such release on the host.
var ErrNoRelease = errors.New("no such release on the host")

// History returns the releases that went live, rollbacks among them, newest
// first. It goes by the order of their runs, not by any clock.
func History(ctx context.Context, h Host, t Target) ([]release.Record, error) {
	records, err := readRecords(ctx, h, t)
	if errors.Is(err, ErrNoRelease) {
		return nil, nil
	}
	return records, err
}

// Show returns the record of one release.
func Show(ctx context.Context, h Host, t Target, version string) (release.Record, error) {
	if !versionName.MatchString(version) {
		return release.Record{}, fmt.Errorf("show %q: %w", version, ErrNoRelease)
	}
	records, err := readRecords(ctx, h, t)
	if err != nil {
		return release.Record{}, fmt.Errorf("show %s: %w", version, err)
	}
	for _, r := range records {
		if r.Version == version && !r.Rollback {
			return r, nil
		}
	}
	return release.Record{}, fmt.Errorf("show %s: %w", version, ErrNoRelease)
}

func readRecords(ctx context.Context, h Host, t Target) ([]release.Record, error) {
	result, err := h.Run(ctx, script(recordsScript, t.Dir), host.Options{})
	var ended *host.RunError
	if errors.As(err, &ended) && ended.Exit == 44 {
		return nil, ErrNoRelease
	}
	if err != nil {
		return nil, fmt.Errorf("read releases: %w", err)
	}
	records, err := unpackRecords(strings.NewReader(result.Stdout))
	if err != nil {
		return nil, fmt.Errorf("read releases: %w", err)
	}
	return records, nil
}

// unpackRecords reads what remote/records.sh printed. Releases that have not gone live
// are left out, but for one of which nothing but release.json is there: runs
// may have been removed.
func unpackRecords(archive io.Reader) ([]release.Record, error) {
	var records []release.Record
	runs := map[string]map[string]string{}
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		name := path.Clean(header.Name)
		switch dir, file := path.Split(name); file {
		case recordFile:
			var r release.Record
			if err := json.Unmarshal(data, &r); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			records = append(records, r)
		default:
			id := path.Base(dir)
			if runs[id] == nil {
				runs[id] = map[string]string{}
			}
			runs[id][file] = string(data)
		}
	}
	live := records[:0]
	for _, r := range records {
		if files, ok := runs[r.Run]; ok {
			journal, err := runner.ParseJournal(files[journalFile])
			if err != nil {
				return nil, fmt.Errorf("run %s: %w", r.Run, err)
			}
			if outcome := journal.Outcome(); outcome != runner.Done && (outcome != "" || !journal.Succeeded(recordStep)) {
				continue
			}
			complete(&r, journal, files[watchFile])
		}
		live = append(live, r)
	}
	slices.SortFunc(live, func(a, b release.Record) int { return strings.Compare(b.Run, a.Run) })
	return live, nil
}

// complete adds to a record how its run went.
func complete(r *release.Record, journal runner.Journal, watch string) {
	r.Steps, r.BackupAt = nil, time.Time{}
	for _, e := range journal {
		if e.Event == runner.Begin && stepName(e.Name) == backup.name {
			r.BackupAt = e.At
		}
	}
	for _, took := range journal.Took() {
		r.Steps = append(r.Steps, release.Step{Name: stepName(took.Step), Seconds: took.Seconds})
	}
	r.Downtime = downtime(watch)
	if r.FinishedAt.IsZero() && len(journal) > 0 {
		// Both by the same clock: how long it took is right even where the
		// host's clock is not.
		r.FinishedAt = r.StartedAt.Add(journal[len(journal)-1].At.Sub(journal[0].At))
	}
}
