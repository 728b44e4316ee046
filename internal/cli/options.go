package cli

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
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

// newServers returns what answers for the hosts of the apps, with what they said
// before about commits in the cache.
func (c *cli) newServers(in inputs) (apps.Servers, error) {
	cache, cas := filepath.Join(in.cache, "commits"), in.config.Image.Mirrors.CAs
	o := in.config.GitHub
	o.Log, o.CacheDir, o.Transport = c.log, cache, trusting(cas)
	github, err := apps.NewGitHub(in.config.GitHubAPIURL, o)
	if err != nil {
		return apps.Servers{}, err
	}
	return apps.Servers{GitHub: github, Git: apps.NewGit(apps.GitOptions{
		KnownHosts: knownHosts(in.config), CAs: cas, Environ: c.environ, CacheDir: cache, Log: c.log,
	})}, nil
}

// trusting returns what sends requests and trusts some CAs besides this machine's,
// or nil without any.
func trusting(cas string) http.RoundTripper {
	if cas == "" {
		return nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(cas))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport
}

// knownHosts returns the host keys that are accepted, for git over SSH. Where there is
// no such file, git says which host's key it does not know.
func knownHosts(cfg config.Config) string {
	known := cfg.Host.KnownHosts[0]
	if known.Path == "" {
		return known.Text
	}
	text, _ := os.ReadFile(known.Path)
	return string(text)
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
