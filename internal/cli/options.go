package cli

import (
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// appsOptions returns how apps.json is read. overrides are refs in place of the
// file's.
func appsOptions(cfg config.Config, overrides map[string]string) apps.Options {
	o := cfg.Apps
	o.Overrides = overrides
	return o
}

// newGitHub returns GitHub's API, with what it answered before about commits in
// the cache.
func newGitHub(cfg config.Config, cache string, log zerolog.Logger) (*apps.GitHub, error) {
	o := cfg.GitHub
	o.Log, o.CacheDir = log, filepath.Join(cache, "commits")
	return apps.NewGitHub(cfg.GitHubAPIURL, o)
}

// newLock returns the lock of the apps, without the Python packages.
func newLock(cfg config.Config, resolved []release.App) release.Lock {
	lock := cfg.Lock
	lock.Apps = resolved
	return image.WithRuntimes(lock)
}

// newBuilder returns a builder with what the configuration says about images.
func newBuilder(cfg config.Config) *image.Builder { return &image.Builder{Options: cfg.Image} }

// imageName returns the image's name in a registry, also where none is set and
// nothing is pushed.
func imageName(cfg config.Config) string {
	if cfg.Registry.Name == "" {
		return "image"
	}
	return cfg.Registry.Name
}

// registryTarget returns the registry that the image is pushed to. It reports
// false where none is set.
func registryTarget(cfg config.Config) (registry.Target, bool) {
	t := cfg.Registry
	t.Name = imageName(cfg)
	return t, t.Host != ""
}

// newSigner returns what signs images, or nil without a key.
func newSigner(cfg config.Config) (*attest.Signer, error) {
	if !cfg.SigningKey.PEM.IsSet() {
		return nil, nil
	}
	return attest.NewSigner(cfg.SigningKey)
}

// deployTarget returns where to deploy to. owner is who deploys.
func deployTarget(cfg config.Config, owner string) deploy.Target {
	t := cfg.Target
	t.Owner = owner
	return t
}

// sshConfig returns how to connect to the host.
func sshConfig(cfg config.Config, log zerolog.Logger) host.Config {
	c := cfg.Host
	c.Log = log
	return c
}
