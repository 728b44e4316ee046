package registry

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Find returns the image that a version names, with what the image says of
// itself in its label. A version that is not there is a *problem.Error.
func Find(ctx context.Context, t Target, version string) (release.Image, release.Manifest, error) {
	var manifest release.Manifest
	digest, err := Released(ctx, t, version)
	if err != nil {
		return release.Image{}, manifest, err
	}
	if digest == "" {
		return release.Image{}, manifest, problem.Report{{
			Code: "registry.version-missing", Subject: "version " + version,
			Detail: "there is no " + t.Repository() + ":" + version,
			Remedy: "push it first, or name a version that was pushed",
		}}.Err()
	}
	tag, err := t.tag(version)
	if err != nil {
		return release.Image{}, manifest, err
	}
	pushed, err := remote.Image(tag.Context().Digest(digest), t.Options(ctx)...)
	if err != nil {
		return release.Image{}, manifest, fmt.Errorf("read %s: %w", tag, err)
	}
	file, err := pushed.ConfigFile()
	if err != nil {
		return release.Image{}, manifest, fmt.Errorf("read configuration of %s: %w", tag, err)
	}
	label := file.Config.Labels[image.ManifestLabel]
	if err := json.Unmarshal([]byte(label), &manifest); err != nil || len(manifest.Apps) == 0 {
		return release.Image{}, manifest, problem.Report{{
			Code: "registry.foreign-image", Subject: tag.String(), Detail: "was not built by this pipeline: it has no label " + image.ManifestLabel,
			Remedy: "release the version with the pipeline", Err: err,
		}}.Err()
	}
	return t.Image(version, digest), manifest, nil
}

// LockOf returns the lock of a pushed version: what the image says of itself,
// with the Python packages that it holds in a file.
func LockOf(ctx context.Context, t Target, version string) (release.Lock, error) {
	found, manifest, err := Find(ctx, t, version)
	if err != nil {
		return release.Lock{}, err
	}
	lock := release.Lock{SiteVersion: version, Python: manifest.Python, Node: manifest.Node, Apps: manifest.Apps, Bases: manifest.Bases,
		Wkhtmltopdf: manifest.Wkhtmltopdf, Chromium: manifest.Chromium, DebianChromium: manifest.DebianChromium, AptPackages: manifest.AptPackages}
	tag, err := t.tag(version)
	if err != nil {
		return lock, err
	}
	pushed, err := remote.Image(tag.Context().Digest(found.Digest), t.Options(ctx)...)
	if err != nil {
		return lock, fmt.Errorf("read %s: %w", tag, err)
	}
	layers, err := pushed.Layers()
	if err != nil || len(layers) == 0 {
		return lock, fmt.Errorf("read layers of %s: %w", tag, err)
	}
	content, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		return lock, fmt.Errorf("read last layer of %s: %w", tag, err)
	}
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return lock, fmt.Errorf("read %s: it has no %s", tag, image.LockPath)
		case err != nil:
			return lock, fmt.Errorf("read last layer of %s: %w", tag, err)
		case "/"+header.Name == image.LockPath:
			text, err := io.ReadAll(archive)
			lock.Requirements = string(text)
			return lock, err
		}
	}
}

// Before returns the newest version in the registry that is older than a
// version, or nothing. Tags that are no semantic versions don't count.
func Before(ctx context.Context, t Target, version string) (string, error) {
	limit, err := semver.StrictNewVersion(version)
	if err != nil {
		return "", nil //nolint:nilerr // Nothing is older than what has no place among versions.
	}
	tags, err := listTags(ctx, t)
	if err != nil {
		return "", err
	}
	var newest *semver.Version
	for _, tag := range tags {
		if v, err := semver.StrictNewVersion(tag); err == nil && v.LessThan(limit) && (newest == nil || v.GreaterThan(newest)) {
			newest = v
		}
	}
	if newest == nil {
		return "", nil
	}
	return newest.Original(), nil
}
