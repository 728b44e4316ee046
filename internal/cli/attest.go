package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
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

// attest smoke-tests a pushed image and attaches what is known of it: the test, the bill
// of materials, how it was built and, with a key, a signature. It returns what is known
// of the smoke test, for the image's record.
func (p pusher) attest(ctx context.Context, b built, reference name.Digest) (smokeTest string, err error) {
	signer, err := newSigner(p.config)
	if err != nil {
		return "", err
	}
	var held []attest.Held
	var side errgroup.Group
	reading, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	side.Go(func() (err error) {
		held, err = p.read(reading, b.image.Platforms)
		return err
	})
	smokeTest, artifacts, err := p.smokeTest(ctx, b, reference)
	if err != nil {
		cancel()
	}
	unread := side.Wait()
	if err != nil {
		return "", err
	}
	more, err := p.contentsAndStatements(ctx, b, reference, signer, held, unread)
	if err != nil {
		// The test took long: the next run need not make it again.
		return "", errors.Join(err, p.attach(ctx, reference, artifacts))
	}
	if err := p.attach(ctx, reference, append(artifacts, more...)); err != nil {
		return "", err
	}
	if err := p.attachPlatforms(ctx, b, reference, held); err != nil {
		return "", err
	}
	if signer == nil {
		return smokeTest, nil
	}
	return smokeTest, p.sign(ctx, reference, signer)
}

// readWithin is how long reading what is in an image may take.
const readWithin = time.Hour

// contentsAndStatements returns the bill of materials of an image, and what is said of
// it. unread is why it could not be read what the image holds.
func (p pusher) contentsAndStatements(ctx context.Context, b built, reference name.Digest, signer *attest.Signer, held []attest.Held, unread error) ([]attest.Artifact, error) {
	if unread != nil {
		return nil, fmt.Errorf("write bill of materials: %w", unread)
	}
	document, err := p.document(b, reference.DigestStr(), held...)
	if err != nil {
		return nil, err
	}
	statements, err := p.statements(ctx, b, reference, signer, held)
	return append([]attest.Artifact{document}, statements...), err
}

// attach attaches artifacts to an image. One that is not listed is a warning: it is
// there.
func (p pusher) attach(ctx context.Context, image name.Digest, artifacts []attest.Artifact) error {
	var unlisted *attest.UnlistedError
	_, err := attest.Attach(ctx, image, artifacts, p.target.Options(ctx)...)
	if !errors.As(err, &unlisted) {
		return err
	}
	warn(p.log, problem.Problem{
		Code: "registry.list-tag", Subject: p.target.Repository(), Detail: "what was attached is in the registry, but not found there: " + unlisted.Error(), Err: err,
		Remedy: "exempt tags that begin with sha256- from the registry's rule, such as one that tags are immutable, or use a registry with the referrers API",
	})
	return nil
}

// statements returns what is said of an image, with a key signed, and is not said yet.
func (p pusher) statements(ctx context.Context, b built, reference name.Digest, signer *attest.Signer, held []attest.Held) ([]attest.Artifact, error) {
	run := p.run
	run.Lock, run.Platforms, run.Began, run.Ended = b.lock, nil, p.session.began, b.ended
	for _, one := range held {
		run.Platforms = append(run.Platforms, one.Platform)
	}
	var made []attest.Artifact
	say := func(predicate string, create func() (attest.Artifact, error)) error {
		known, err := attest.Stated(ctx, reference, predicate, signer, p.target.Options(ctx)...)
		if err != nil || known {
			return err
		}
		artifact, err := create()
		made = append(made, artifact)
		return err
	}
	err := say(attest.ProvenancePredicate, func() (attest.Artifact, error) { return attest.Provenance(reference, run, signer) })
	if err == nil && signer != nil {
		err = say(attest.SignaturePredicate, func() (attest.Artifact, error) { return signer.Signature(reference, time.Now()) })
	}
	return made, err
}

// sign signs an image as cosign before 3.0 does, where its signature as a bundle is
// attached. That one of the two can't be kept is a warning, and that neither can is not.
func (p pusher) sign(ctx context.Context, reference name.Digest, signer *attest.Signer) error {
	err := signer.Sign(ctx, reference, p.target.Repository(), p.target.Options(ctx)...)
	if !errors.Is(err, attest.ErrTagRefused) {
		return err
	}
	lost := problem.Problem{
		Code: "registry.signature-tag", Subject: p.target.Repository(), Detail: err.Error(), Err: err,
		Remedy: "exempt tags that begin with sha256- from the registry's rule, such as one that tags are immutable",
	}
	public, err := signer.PublicKey()
	if err != nil {
		return err
	}
	switch err := attest.Verify(ctx, reference, public, p.target.Options(ctx)...); {
	case errors.Is(err, attest.ErrUnsigned):
		return problem.Report{lost}.Err()
	case err != nil:
		return err
	}
	lost.Remedy += ", or verify with cosign 3, which finds the signature that is attached"
	warn(p.log, lost)
	return nil
}

// contentsStage is what the timeline calls the reading of the image, beside the
// smoke test.
const contentsStage = "bill of materials"

// read reads what is in the images of all platforms.
func (p pusher) read(ctx context.Context, images []v1.Image) ([]attest.Held, error) {
	p.session.watcher.observe(progress.Event{Stage: contentsStage, Kind: progress.Began, At: time.Now(), Needs: []string{"push"}})
	notes := &layerNotes{pusher: p}
	held, err := attest.Read(ctx, images, notes)
	p.session.builder.UseNotes(notes.asked...)
	p.session.watcher.observe(progress.Event{Stage: contentsStage, Kind: progress.Ended, At: time.Now(), Err: err})
	return held, err
}

// layerNotes keeps what was read of layers beside the stages, where a release
// from another machine finds it.
type layerNotes struct {
	pusher
	mutex sync.Mutex
	asked []image.Note
}

func (n *layerNotes) note(name string) image.Note { return image.Note{Name: "contents", Of: name} }

// Find returns what was kept. What can't be had is read from the layer again.
func (n *layerNotes) Find(ctx context.Context, name string) ([]byte, error) {
	n.mutex.Lock()
	n.asked = append(n.asked, n.note(name))
	n.mutex.Unlock()
	record, err := n.session.builder.FindNote(ctx, n.note(name))
	if err != nil && ctx.Err() == nil {
		n.log.Debug().Err(err).Msg("what is in a layer is read again")
		return nil, nil
	}
	return record, err
}

// Keep keeps what was read.
func (n *layerNotes) Keep(ctx context.Context, name string, record []byte) {
	if err := n.session.builder.KeepNote(ctx, n.note(name), record); err != nil && ctx.Err() == nil {
		n.log.Warn().Err(err).Msg("what is in a layer is not kept: the next release reads the layer again")
	}
}

// document returns the bill of materials of the image of a digest, for what is in it.
func (p pusher) document(b built, digest string, held ...attest.Held) (attest.Artifact, error) {
	text, err := attest.SBOM(contents(p.target.Repository(), b, digest, held))
	if err != nil {
		return attest.Artifact{}, fmt.Errorf("write bill of materials: %w", err)
	}
	return attest.Artifact{Type: attest.SBOMType, Content: text}, nil
}

// attachPlatforms attaches to each image of an index a bill of materials of its own:
// the index has one of all.
func (p pusher) attachPlatforms(ctx context.Context, b built, reference name.Digest, held []attest.Held) error {
	if b.image.Index == nil {
		return nil
	}
	for i, one := range b.image.Platforms {
		digest, err := one.Digest()
		if err != nil {
			return fmt.Errorf("name image for %s: %w", held[i].Platform, err)
		}
		document, err := p.document(b, digest.String(), held[i])
		if err != nil {
			return err
		}
		if err := p.attach(ctx, reference.Context().Digest(digest.String()), []attest.Artifact{document}); err != nil {
			return err
		}
	}
	return nil
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
// image. The result, also that the test was skipped, is for the image to be attached.
func (p pusher) smokeTest(ctx context.Context, b built, reference name.Digest) (string, []attest.Artifact, error) {
	known, err := smokeTestOf(ctx, p.target, reference)
	if err != nil {
		return "", nil, err
	}
	if known != nil && (!known.Skipped || p.skipSmokeTest) {
		p.log.Info().Time("at", known.At).Msg("the image is " + known.Word())
		return known.Word(), nil, nil
	}
	var report smoketest.Report
	if p.skipSmokeTest {
		report = smoketest.Report{Digest: reference.DigestStr(), At: time.Now().UTC(), Skipped: true}
	} else if report, err = p.runSmokeTest(ctx, b, reference); err != nil {
		return "", nil, err
	}
	text, err := json.Marshal(report)
	if err != nil {
		return "", nil, fmt.Errorf("encode smoke test: %w", err)
	}
	return report.Word(), []attest.Artifact{{
		Type: smoketest.ArtifactType, Content: text, Annotations: map[string]string{attest.CreatedAnnotation: report.At.Format(time.RFC3339Nano)},
	}}, nil
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
		p.later(ctx, func(ctx context.Context) error { return s.builder.Keep(ctx, *folder, keep) }, "the site of the smoke test is not kept: the next one begins with an earlier site, or makes one")
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
