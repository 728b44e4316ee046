package cli

import (
	"path/filepath"

	"dagger.io/dagger"
	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// appsOptions returns how apps.json is read. overrides are refs in place of the
// file's.
func appsOptions(cfg config.Config, overrides map[string]string) apps.Options {
	o := apps.Options{Path: cfg.AppsFile, Overrides: overrides, Lookup: cfg.Secret}
	// The default repository is there for an apps file without frappe; only
	// one that was chosen may contradict one with it.
	if cfg.FrappeBranch != "" || cfg.Chosen("FRAPPE_PATH") {
		o.Frappe = apps.Fallback{URL: cfg.FrappePath, Ref: cfg.FrappeBranch}
	}
	return o
}

// newGitHub returns GitHub's API, with what it answered before about commits in
// the cache.
func newGitHub(cfg config.Config, cache string, log zerolog.Logger) (*apps.GitHub, error) {
	return apps.NewGitHub(cfg.GitHubAPIURL, apps.GitHubOptions{Token: cfg.GitHubToken, Log: log, CacheDir: filepath.Join(cache, "commits")})
}

// newLock returns the lock of the apps, without the Python packages.
func newLock(cfg config.Config, resolved []release.App) release.Lock {
	lock := release.Lock{
		SiteVersion: cfg.SiteVersion, Python: cfg.Python, Node: cfg.Node, Apps: resolved,
		DebianChromium: cfg.DebianChromium,
	}
	if d := cfg.Wkhtmltopdf; d != nil {
		lock.Wkhtmltopdf = &release.Download{URL: d.URL, SHA256: d.SHA256}
	}
	if d := cfg.Chromium; d != nil {
		lock.Chromium = &release.Download{URL: d.URL, SHA256: d.SHA256}
	}
	return lock
}

// newBuilder returns a builder with what the configuration says about images.
func newBuilder(cfg config.Config) *image.Builder {
	b := &image.Builder{
		Mirrors: image.Mirrors{
			PyPI: cfg.Mirrors.PyPI, NPM: cfg.Mirrors.NPM, Apt: cfg.Mirrors.Apt,
			Images: cfg.Mirrors.Images, CAs: cfg.Mirrors.CAs,
		},
		PackagesAsOf: cfg.PackagesAsOf,
	}
	for _, platform := range cfg.Platforms {
		b.Platforms = append(b.Platforms, dagger.Platform(platform))
	}
	return b
}

// imageName returns the image's name in a registry, also where none is set and
// nothing is pushed.
func imageName(cfg config.Config) string {
	if cfg.ImageName == "" {
		return "image"
	}
	return cfg.ImageName
}

// registryTarget returns the registry that the image is pushed to. It reports
// false where none is set.
func registryTarget(cfg config.Config) (registry.Target, bool) {
	return registry.Target{
		Host: cfg.Registry.Host, Name: imageName(cfg),
		Username: cfg.Registry.Username, Password: cfg.Registry.Password,
	}, cfg.Registry.Host != ""
}

// newSigner returns what signs images, or nil without a key.
func newSigner(cfg config.Config) (*attest.Signer, error) {
	if !cfg.Signing.Key.IsSet() {
		return nil, nil
	}
	return attest.NewSigner([]byte(cfg.Signing.Key.Reveal()), cfg.Signing.Password)
}

// deployTarget returns where to deploy to. variables are the names that the
// compose files refer to, owner is who deploys.
func deployTarget(cfg config.Config, variables []string, owner string) deploy.Target {
	t := deploy.Target{
		Dir: cfg.Target.Dir, Project: cfg.Target.Project, Sites: cfg.Target.Sites,
		ComposeFiles: cfg.Target.ComposeFiles, HTTPPort: cfg.Compose.HTTPPort,
		Secrets: map[string]secret.Secret{}, Owner: owner,
		Strategy: cfg.Target.Strategy, BackupFiles: cfg.Target.BackupFiles, DrainLimit: cfg.Target.DrainLimit,
		KeepReleases: cfg.Target.KeepReleases,
		Login:        deploy.Login{Host: cfg.Registry.Host, Username: cfg.Registry.Username, Password: cfg.Registry.Password},
	}
	for _, name := range variables {
		if value, known := cfg.Secret(name); known {
			t.Secrets[name] = value
		}
	}
	return t
}

// sshConfig returns how to connect to the host.
func sshConfig(cfg config.Config, log zerolog.Logger) host.Config {
	c := cfg.Target.SSH()
	c.Log = log
	return c
}
