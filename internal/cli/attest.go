package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

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
	smokeTest, artifacts, err := p.smokeTest(ctx, b, reference)
	if err != nil {
		return "", err
	}
	document, err := attest.SBOM(contents(p.target.Repository(), b))
	if err != nil {
		return "", fmt.Errorf("write bill of materials: %w", err)
	}
	signer, err := newSigner(p.config)
	if err != nil {
		return "", err
	}
	statements, err := p.statements(ctx, b, reference, signer)
	if err != nil {
		return "", err
	}
	artifacts = append(append(artifacts, attest.Artifact{Type: attest.SBOMType, Content: document}), statements...)
	var unlisted *attest.UnlistedError
	if _, err := attest.Attach(ctx, reference, artifacts, p.target.Options(ctx)...); errors.As(err, &unlisted) {
		warn(p.log, problem.Problem{
			Code: "registry.list-tag", Subject: p.target.Repository(), Detail: "what was attached is in the registry, but not found there: " + unlisted.Error(), Err: err,
			Remedy: "exempt tags that begin with sha256- from the registry's rule, such as one that tags are immutable, or use a registry with the referrers API",
		})
	} else if err != nil {
		return "", err
	}
	if signer == nil {
		return smokeTest, nil
	}
	return smokeTest, p.sign(ctx, reference, signer)
}

// statements returns what is said of an image, with a key signed, and is not said yet.
func (p pusher) statements(ctx context.Context, b built, reference name.Digest, signer *attest.Signer) ([]attest.Artifact, error) {
	run := p.run
	run.Lock, run.Platforms, run.Began, run.Ended = b.lock, b.image.Platforms, p.session.began, b.ended
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

// contents returns what the image holds, for its bill of materials.
func contents(repository string, b built) attest.Contents {
	return attest.Contents{
		Name: repository, Version: b.lock.SiteVersion, Digest: b.image.Digest.String(),
		Apps: b.lock.Apps, PythonVersion: b.lock.Python, NodeVersion: b.lock.Node, DpkgStatus: b.image.DpkgStatus, OSRelease: b.image.OSRelease,
		Python: b.image.Manifest.Packages, Yarn: b.image.Yarn, Created: b.image.Created,
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
