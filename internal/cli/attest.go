package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// The images that a release runs with beside its own, and an image is tested
// with.
const (
	mariadbImage = "mariadb:10.11"
	redisImage   = "redis:7.2"
	debianImage  = "debian:bookworm-slim"
)

// attest smoke-tests a pushed image and attaches what is known of it: the test, the
// bill of materials and, with a key, a signature.
func (b *build) attest(ctx context.Context, s *streams, f *flags, c *checked, reference name.Digest) error {
	if err := b.smokeTested(ctx, s, f, c, reference); err != nil {
		return err
	}
	document, err := attest.SBOM(b.contents(c))
	if err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	if _, err := attest.Attach(ctx, reference, attest.SBOMType, attest.SBOMType, document, nil, c.target.Options(ctx)...); err != nil {
		return fmt.Errorf("attach bill of materials: %w", err)
	}
	signer, err := newSigner(c.config)
	if err != nil || signer == nil {
		return err
	}
	return signer.Sign(ctx, reference, c.target.Repository(), c.target.Options(ctx)...)
}

// contents is what the image holds, for its bill of materials.
func (b *build) contents(c *checked) attest.Contents {
	return attest.Contents{
		Name: c.target.Repository(), Version: b.lock.SiteVersion, Digest: b.image.Digest.String(),
		Apps: b.lock.Apps, PythonVersion: b.lock.Python, NodeVersion: b.lock.Node, DpkgStatus: b.image.DpkgStatus, OSRelease: b.image.OSRelease,
		Python: b.image.Manifest.Packages, Yarn: b.image.Yarn, Created: b.image.Created,
	}
}

// smokeTested makes a site from the image, unless that was done with this very image.
// What came of it is kept beside the image, also that nobody looked.
func (b *build) smokeTested(ctx context.Context, s *streams, f *flags, c *checked, reference name.Digest) error {
	known, err := attest.Attached(ctx, reference, smoketest.ArtifactType, c.target.Options(ctx)...)
	if err != nil {
		return fmt.Errorf("look for a smoke test: %w", err)
	}
	var report smoketest.Report
	if known != nil && json.Unmarshal(known, &report) == nil && (!report.Skipped || f.skipSmokeTest) {
		b.smokeTest = report.Word()
		s.log.Info().Time("at", report.At).Msg("the image is " + b.smokeTest)
		return nil
	}
	if f.skipSmokeTest {
		report = smoketest.Report{Digest: reference.DigestStr(), At: time.Now().UTC(), Skipped: true}
	} else if report, err = b.runSmokeTest(ctx, s, c, reference); err != nil {
		return err
	}
	b.smokeTest = report.Word()
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("encode smoke test: %w", err)
	}
	_, err = attest.Attach(ctx, reference, smoketest.ArtifactType, smoketest.ArtifactType, text,
		map[string]string{attest.CreatedAnnotation: report.At.Format(time.RFC3339Nano)}, c.target.Options(ctx)...)
	if err != nil {
		return fmt.Errorf("attach smoke test: %w", err)
	}
	return nil
}

func (b *build) runSmokeTest(ctx context.Context, s *streams, c *checked, reference name.Digest) (smoketest.Report, error) {
	image, err := b.stores[0].Container(ctx, b.client, b.image.Native)
	if err != nil {
		return smoketest.Report{}, fmt.Errorf("pull %s: %w", reference, err)
	}
	apps := make([]smoketest.App, len(b.lock.Apps))
	for i, app := range b.lock.Apps {
		apps[i] = smoketest.App{Name: app.Name, Requires: b.builder.Requires(app.Name)}
	}
	b.builder.Observe(progress.Event{Stage: "smoke test", Kind: progress.Began, At: time.Now(), Needs: []string{"push"}})
	options := smoketest.Options{
		Client: b.client, Image: image, Digest: reference.DigestStr(), Apps: apps, Secrets: c.config.Secrets(), CAs: c.config.Mirrors.CAs,
		MariaDB: b.builder.Public(mariadbImage), Redis: b.builder.Public(redisImage), Inspector: b.builder.Public(debianImage),
	}
	report, err := smoketest.Run(ctx, options)
	var found *problem.Error
	if err != nil && !errors.As(err, &found) && ctx.Err() == nil {
		// Not the image failed but the engine, which may have thrown away what
		// it was about to use.
		s.log.Warn().Err(err).Msg("the engine failed; testing the image once more")
		report, err = smoketest.Run(ctx, options)
	}
	b.builder.Observe(progress.Event{Stage: "smoke test", Kind: progress.Ended, At: time.Now(), Err: err})
	if err != nil {
		return report, err
	}
	for _, check := range report.Checks {
		s.log.Info().Str("took", fmt.Sprintf("%.1fs", check.Seconds)).Msg("smoke test: " + check.Name)
	}
	for app, reason := range report.Left {
		s.log.Warn().Str("app", app).Msg("not installed on the smoke test's site: it " + reason)
	}
	return report, nil
}
