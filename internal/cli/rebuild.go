package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// rebuild is the command: an image is built from its lock alone, with the
// packages that it had. It is pushed under its version unless it goes into a
// file or into Docker; where the version names another image already, that
// stays.
func (s *streams) rebuild(ctx context.Context, f *flags, args []string) error {
	if (len(args) == 1) == (f.lock != "") {
		return fmt.Errorf("%w: name a version, or a file with --lock", errUsage)
	}
	need := config.Build | config.Push
	lock, known, err := s.lockToRebuild(ctx, f, args)
	if err != nil {
		return err
	}
	f.keys["DE_SITE_VERSION"] = &lock.SiteVersion
	p, report := s.prepare(ctx, f, need)
	if err := report.Err(); err != nil {
		return err
	}
	if err := p.loadable(f); err != nil {
		return err
	}
	c := &checked{prepared: p, resolved: lock.Apps}
	defer c.close()
	if err := c.openStores(ctx, need); err != nil {
		return err
	}
	if c.sources, err = apps.ForLock(lock.Apps, p.sources); err != nil {
		return err
	}
	b, err := s.startBuild(ctx, f, c)
	if err != nil {
		return err
	}
	defer b.close()
	b.lock = lock
	if err := s.group("build", func() error { return b.run(ctx) }); err != nil {
		return err
	}
	digest := b.image.Digest.String()
	switch {
	case known == "":
		s.log.Info().Str("digest", digest).Msg("rebuilt")
	case known == digest:
		s.log.Info().Str("digest", digest).Msg("rebuilt: it is the image that the version names")
	default:
		s.log.Warn().Str("digest", digest).Str("released", known).Msg("rebuilt with the same apps and Python packages, but it is not the same image: Debian's packages or this program have changed since")
	}
	if f.load {
		if err := b.load(ctx, s, c.target.Name); err != nil {
			return err
		}
	}
	if f.output != "" {
		if err := registry.WriteArchive(f.output, b.image, lock.SiteVersion); err != nil {
			return err
		}
	}
	if f.load || f.output != "" {
		return nil
	}
	pushed, err := b.push(ctx, s, f, c)
	b.hide()
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, pushed)
	return nil
}

// lockToRebuild gives the lock of a file, or that of a version: from the
// host's record if there is a host, else from the image in the registry. With
// a version it gives the digest that it names as well.
func (s *streams) lockToRebuild(ctx context.Context, f *flags, args []string) (lock release.Lock, digest string, err error) {
	if f.lock != "" {
		lock, err = readLock(f.lock)
		return lock, "", err
	}
	version := args[0]
	f.keys["DE_SITE_VERSION"] = &version
	if s.needs(ctx, f)&config.Deploy != 0 {
		record, err := s.recordOf(ctx, f, version)
		return record.Lock, record.Image.Digest, err
	}
	p, report := s.prepare(ctx, f, config.Push)
	if err := report.Err(); err != nil {
		return lock, "", err
	}
	c := &checked{prepared: p}
	defer c.close()
	if err := c.openStores(ctx, config.Push); err != nil {
		return lock, "", err
	}
	image, _, err := registry.Find(ctx, c.target, version)
	if err != nil {
		return lock, "", err
	}
	lock, err = registry.LockOf(ctx, c.target, version)
	return lock, image.Digest, err
}

// readLock reads a lock from a file: one that build --lock wrote, or a record
// that show --json printed.
func readLock(path string) (release.Lock, error) {
	bad := func(detail, remedy string, err error) error {
		return problem.Report{{Code: "lock.unreadable", Subject: path, Detail: detail, Remedy: remedy, Err: err}}.Err()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return release.Lock{}, bad("can't be read: "+err.Error(), "name the file that build --lock wrote", err)
	}
	var record struct {
		release.Lock
		Inner *release.Lock `json:"lock"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return release.Lock{}, bad("is no JSON: "+err.Error(), "name the file that build --lock wrote, or what show --json printed", err)
	}
	lock := record.Lock
	if record.Inner != nil {
		lock = *record.Inner
	}
	switch {
	case len(lock.Apps) == 0:
		return lock, bad("has no apps in it", "name the file that build --lock wrote, or what show --json printed", nil)
	case lock.Requirements == "":
		return lock, bad("has no Python packages in it: it is of a release from before they were locked", "release those refs anew, under a new version", nil)
	}
	return lock, nil
}
