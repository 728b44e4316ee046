package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// The images that a release runs with beside its own, and an image is tested
// with.
const (
	mariadbImage = "mariadb:10.11"
	redisImage   = "redis:7.2"
	debianImage  = "debian:bookworm-slim"
)

// attest smoke-tests a pushed image and attaches what is known of it: the test,
// the bill of materials and, with a key, a signature. It returns what is known
// of the smoke test, for the image's record.
func (p pusher) attest(ctx context.Context, b built, reference name.Digest) (smokeTest string, err error) {
	var held []attest.Held
	var side errgroup.Group
	side.Go(func() (err error) {
		held, err = p.read(ctx, b.image.Platforms)
		return err
	})
	smokeTest, err = p.smokeTest(ctx, b, reference)
	unread := side.Wait()
	if err != nil {
		return "", err
	}
	if unread != nil {
		return "", fmt.Errorf("write bill of materials: %w", unread)
	}
	if err := p.attachContents(ctx, b, reference, held); err != nil {
		return "", err
	}
	signer, err := newSigner(p.config)
	if err != nil || signer == nil {
		return smokeTest, err
	}
	return smokeTest, signer.Sign(ctx, reference, p.target.Repository(), p.target.Options(ctx)...)
}

// contentsStage is what the timeline calls the reading of the image, beside the
// smoke test.
const contentsStage = "bill of materials"

// read reads what is in the images of all platforms.
func (p pusher) read(ctx context.Context, images []v1.Image) ([]attest.Held, error) {
	p.session.watcher.observe(progress.Event{Stage: contentsStage, Kind: progress.Began, At: time.Now(), Needs: []string{"push"}})
	held, err := attest.Read(ctx, images, layerNotes(p))
	p.session.watcher.observe(progress.Event{Stage: contentsStage, Kind: progress.Ended, At: time.Now(), Err: err})
	return held, err
}

// layerNotes keeps what was read of layers beside the stages, where a release
// from another machine finds it.
type layerNotes pusher

func (n layerNotes) note(name string) image.Note { return image.Note{Name: "contents", Of: name} }

func (n layerNotes) Find(ctx context.Context, name string) ([]byte, error) {
	return n.session.builder.FindNote(ctx, n.note(name))
}

func (n layerNotes) Keep(ctx context.Context, name string, record []byte) {
	if err := n.session.builder.KeepNote(ctx, n.note(name), record); err != nil && ctx.Err() == nil {
		n.log.Warn().Err(err).Msg("what is in a layer is not kept: the next release reads the layer again")
	}
}

// attachContents attaches bills of materials: to the image of each platform its
// own, and to an index one of all.
func (p pusher) attachContents(ctx context.Context, b built, reference name.Digest, held []attest.Held) error {
	attach := func(digest string, held ...attest.Held) error {
		document, err := attest.SBOM(contents(p.target.Repository(), b, digest, held))
		if err != nil {
			return fmt.Errorf("write bill of materials: %w", err)
		}
		subject := reference.Context().Digest(digest)
		if _, err := attest.Attach(ctx, subject, attest.SBOMType, attest.SBOMType, document, nil, p.target.Options(ctx)...); err != nil {
			return fmt.Errorf("attach bill of materials: %w", err)
		}
		return nil
	}
	if b.image.Index != nil {
		for i, one := range b.image.Platforms {
			digest, err := one.Digest()
			if err != nil {
				return fmt.Errorf("name image for %s: %w", held[i].Platform, err)
			}
			if err := attach(digest.String(), held[i]); err != nil {
				return err
			}
		}
	}
	return attach(reference.DigestStr(), held...)
}

// contents returns what an image holds, for its bill of materials.
func contents(repository string, b built, digest string, held []attest.Held) attest.Contents {
	return attest.Contents{
		Name: repository, Version: b.lock.SiteVersion, Digest: digest,
		Apps: b.lock.Apps, PythonVersion: b.lock.Python, NodeVersion: b.lock.Node, Wkhtmltopdf: b.lock.Wkhtmltopdf, Chromium: b.lock.Chromium,
		Locked: b.image.Manifest.Packages, Held: held, Created: b.image.Created,
	}
}

// smokeTestOf returns the report beside an image; nil where there is none.
func smokeTestOf(ctx context.Context, target registry.Target, reference name.Digest) (*smoketest.Report, error) {
	known, err := attest.Attached(ctx, reference, smoketest.ArtifactType, target.Options(ctx)...)
	if err != nil {
		return nil, fmt.Errorf("look for a smoke test: %w", err)
	}
	var report smoketest.Report
	if known != nil && json.Unmarshal(known, &report) == nil {
		return &report, nil
	}
	return nil, nil
}

// smokeTest makes a site from the image, unless that was done with this very
// image. The result is kept beside the image, also that the test was skipped.
func (p pusher) smokeTest(ctx context.Context, b built, reference name.Digest) (string, error) {
	known, err := smokeTestOf(ctx, p.target, reference)
	if err != nil {
		return "", err
	}
	if known != nil && (!known.Skipped || p.skipSmokeTest) {
		p.log.Info().Time("at", known.At).Msg("the image is " + known.Word())
		return known.Word(), nil
	}
	var report smoketest.Report
	if p.skipSmokeTest {
		report = smoketest.Report{Digest: reference.DigestStr(), At: time.Now().UTC(), Skipped: true}
	} else if report, err = p.runSmokeTest(ctx, b, reference); err != nil {
		return "", err
	}
	text, err := json.Marshal(report)
	if err != nil {
		return "", fmt.Errorf("encode smoke test: %w", err)
	}
	_, err = attest.Attach(ctx, reference, smoketest.ArtifactType, smoketest.ArtifactType, text,
		map[string]string{attest.CreatedAnnotation: report.At.Format(time.RFC3339Nano)}, p.target.Options(ctx)...)
	if err != nil {
		return "", fmt.Errorf("attach smoke test: %w", err)
	}
	return report.Word(), nil
}

func (p pusher) runSmokeTest(ctx context.Context, b built, reference name.Digest) (smoketest.Report, error) {
	s := p.session
	pushed, err := s.stores[0].Container(ctx, s.client, b.image.Native)
	if err != nil {
		return smoketest.Report{}, fmt.Errorf("pull %s: %w", reference, err)
	}
	apps := make([]smoketest.App, len(b.lock.Apps))
	for i, app := range b.lock.Apps {
		apps[i] = smoketest.App{Name: app.Name, Version: app.Version, Requires: s.builder.Requires(app.Name)}
	}
	s.watcher.observe(progress.Event{Stage: smoketest.Stage, Kind: progress.Began, At: time.Now(), Needs: []string{"push"}})
	options := smoketest.Options{
		Client: s.client, Image: pushed, Digest: reference.DigestStr(), Apps: apps, Secrets: p.config.Secrets(), CAs: p.config.Image.Mirrors.CAs,
		MariaDB: s.builder.Public(mariadbImage), Redis: s.builder.Public(redisImage), Inspector: s.builder.Public(debianImage),
	}
	folder := p.keptSite(ctx, b.lock, &options)
	report, keep, err := smoketest.Run(ctx, options)
	var found *problem.Error
	if err != nil && !errors.As(err, &found) && ctx.Err() == nil {
		// Not the image failed but the engine, which may have thrown away what
		// it was about to use, or what was kept is of no use.
		p.log.Warn().Err(err).Msg("testing the image once more, with a new site")
		options.Kept = nil
		report, keep, err = smoketest.Run(ctx, options)
	}
	s.watcher.observe(progress.Event{Stage: smoketest.Stage, Kind: progress.Ended, At: time.Now(), Err: err})
	if err != nil {
		return report, err
	}
	if keep != nil && folder != nil {
		p.later(ctx, func(ctx context.Context) error { return s.builder.Keep(ctx, *folder, keep) }, "the site of the smoke test is not kept: the next one makes a new one")
	}
	for _, check := range report.Checks {
		p.log.Info().Str("took", fmt.Sprintf("%.1fs", check.Seconds)).Msg("smoke test: " + check.Name)
	}
	for app, reason := range report.Left {
		p.log.Warn().Str("app", app).Msg("not installed on the smoke test's site: it " + reason)
	}
	return report, nil
}

// keptSite has a smoke test begin with the site that an earlier one has kept, if there
// is one, and returns where to keep one; nil where that can't be told.
func (p pusher) keptSite(ctx context.Context, lock release.Lock, options *smoketest.Options) *image.Folder {
	database, err := options.MariaDB.ImageRef(ctx)
	if err == nil {
		folder := &image.Folder{Name: "site", Of: smoketest.SiteOf(lock.Apps[0].Commit, database, options.Apps, time.Now())}
		if p.newSite {
			return folder
		}
		if options.Kept, err = p.session.builder.Find(ctx, *folder); err == nil {
			return folder
		}
	}
	p.log.Warn().Err(err).Msg("the smoke test begins with a new site")
	return nil
}
