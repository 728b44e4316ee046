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
// file watch: the host writes them without the client. The sites that the run
// found are in its file sites. A record is put together from all of them whenever
// it is read.
const (
	recordFile  = "release.json"
	journalFile = "journal"
	watchFile   = "watch"
	sitesFile   = "sites"
)

// ErrNoRelease says that there is no such release on the host.
var ErrNoRelease = errors.New("no such release on the host")

// History returns the releases that went live, rollbacks among them, newest
// first. It goes by the order of their runs, not by any clock. unreadable names
// the files that are not whole; a release without its record is left out.
func History(ctx context.Context, h Host, t Target) (records []release.Record, unreadable []string, err error) {
	records, unreadable, err = readRecords(ctx, h, t)
	if errors.Is(err, ErrNoRelease) {
		return nil, nil, nil
	}
	return records, unreadable, err
}

// Show returns the record of one release.
func Show(ctx context.Context, h Host, t Target, version string) (release.Record, error) {
	if !versionName.MatchString(version) {
		return release.Record{}, fmt.Errorf("show %q: %w", version, ErrNoRelease)
	}
	records, unreadable, err := readRecords(ctx, h, t)
	if err != nil {
		return release.Record{}, fmt.Errorf("show %s: %w", version, err)
	}
	for _, r := range records {
		if r.Version == version && !r.Rollback {
			return r, nil
		}
	}
	if file := path.Join("releases", version, recordFile); slices.Contains(unreadable, file) {
		return release.Record{}, fmt.Errorf("show %s: %s can't be read: it was cut off or written over", version, path.Join(t.Dir, file))
	}
	return release.Record{}, fmt.Errorf("show %s: %w", version, ErrNoRelease)
}

func readRecords(ctx context.Context, h Host, t Target) ([]release.Record, []string, error) {
	result, err := h.Run(ctx, script(recordsScript, t.Dir), host.Options{})
	var ended *host.RunError
	if errors.As(err, &ended) && ended.Exit == 44 {
		return nil, nil, ErrNoRelease
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read releases: %w", err)
	}
	records, unreadable, err := unpackRecords(strings.NewReader(result.Stdout))
	if err != nil {
		return nil, nil, fmt.Errorf("read releases: %w", err)
	}
	return records, unreadable, nil
}

// unpackRecords reads what remote/records.sh printed. Releases that have not gone live
// are left out, but for one of which nothing but release.json is there: runs
// may have been removed. A file that is not whole, because of a power cut, is
// named, and is in the way of no other.
func unpackRecords(archive io.Reader) (live []release.Record, unreadable []string, err error) {
	var records []release.Record
	runs := map[string]map[string]string{}
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(reader)
		if err != nil {
			return nil, nil, err
		}
		name := path.Clean(header.Name)
		switch dir, file := path.Split(name); file {
		case recordFile:
			var r release.Record
			if err := json.Unmarshal(data, &r); err != nil || r.Version == "" {
				unreadable = append(unreadable, name)
				continue
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
	for id, files := range runs {
		// A line that is cut off hides nothing: what it was about begins again.
		if journal, torn := runner.ParseJournal(files[journalFile]); torn > 0 && len(journal) == 0 {
			unreadable = append(unreadable, path.Join("runs", id, journalFile))
		}
	}
	slices.Sort(unreadable)
	live = records[:0]
	for _, r := range records {
		files := runs[r.Run]
		journal, _ := runner.ParseJournal(files[journalFile])
		switch {
		case len(journal) > 0:
			if outcome := journal.Outcome(); outcome != runner.Done && (outcome != "" || !journal.Succeeded(recordStep)) {
				continue
			}
			complete(&r, journal, files[watchFile])
			if sites := strings.Fields(files[sitesFile]); len(sites) > 0 {
				r.Sites = sites
			}
		case r.Rollback:
			continue // it was never started
		}
		live = append(live, r)
	}
	slices.SortFunc(live, func(a, b release.Record) int { return strings.Compare(b.Run, a.Run) })
	return live, unreadable, nil
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
	r.Warnings = warnings(journal)
	r.Downtime = downtime(watch)
	if r.FinishedAt.IsZero() && len(journal) > 0 {
		// Both by the same clock: how long it took is right even where the
		// host's clock is not.
		r.FinishedAt = r.StartedAt.Add(journal[len(journal)-1].At.Sub(journal[0].At))
	}
}

// warnings returns the steps that failed after the release was live.
func warnings(journal runner.Journal) []release.Warning {
	if journal.Outcome() != runner.Done {
		return nil
	}
	var found []release.Warning
	for _, e := range journal.Unsuccessful() {
		name := stepName(e.Name)
		found = append(found, release.Warning{Step: name, Exit: e.Exit, Remedy: remedyFor(name)})
	}
	return found
}
