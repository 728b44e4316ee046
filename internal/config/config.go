// Package config turns flags, the process environment and the .env file into
// one validated [Config], which is made of the structs that use it. It reads
// files but never the network.
//
// A flag comes before the environment, the environment before .env, and .env
// before a default. An empty value counts as none: GitHub Actions renders a
// missing secret as an empty string.
//
// A key is one entry of the schema, in schema.go, and one field of the struct
// that uses it. Everything else follows from these two.
package config

import (
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Sources are where values come from.
type Sources struct {
	// Flags are the flags that were given, by the names of their keys, for
	// instance DE_SITE_VERSION for --version.
	Flags map[string]string
	// Environ is the process environment as os.Environ returns it.
	Environ []string
	// EnvFile is the path of the .env file; empty for none. It need not
	// exist where nothing of it is needed.
	EnvFile string
	// ReadFile and Stat are os.ReadFile and os.Stat unless set.
	ReadFile func(name string) ([]byte, error)
	Stat     func(name string) (fs.FileInfo, error)
	// CAFolder is the folder of the machine's own CAs, Debian's unless set.
	CAFolder string
	// Now is time.Now unless set.
	Now func() time.Time
}

// Config is what the pipeline was told. It prints without its secrets.
type Config struct {
	// Apps say where the list of apps is, and where frappe comes from if it is
	// not in there. Overrides are the caller's. JSON has no form for Lookup.
	Apps apps.Options `json:"-"`
	// GitHubAPIURL has no slash at its end.
	GitHubAPIURL string
	// GitHub has the token for public repositories; private ones have the
	// token that their URL asks for.
	GitHub apps.GitHubOptions
	// Lock is the part of the lock that is told and not found out: the site
	// version, the runtimes and the makers of PDFs. Its SiteVersion is a valid
	// tag, or empty where nothing needs it.
	Lock release.Lock
	// Engine builds the image.
	Engine engine.Endpoint
	// Sandbox is the folder of the sandbox that the configuration is for, if it is
	// for one: what is kept for later goes there.
	Sandbox string
	// Image says how images are built.
	Image image.Options
	// Registry is where images are pushed to. Its Host is empty for the
	// embedded registry.
	Registry registry.Target
	// SigningKey signs images; its PEM is unset where they are not signed. One
	// in a file is read only where something is pushed.
	SigningKey attest.Key
	// Host is how to connect to the host that runs the site. Its Address is
	// empty where there is none; then Target does not matter.
	Host host.Config
	// Target says where and how a release goes live.
	Target deploy.Target

	// byName are the values of all keys, those of compose files and apps
	// placeholders among them. It is a pointer so that it isn't printed.
	byName *map[string]knownValue
}

// newConfig returns a Config with a place for everything that a key can say.
func newConfig() *Config {
	return &Config{
		Lock:   release.Lock{Wkhtmltopdf: &release.Download{}, Chromium: &release.Download{}},
		Host:   host.Config{Keys: []host.Key{{Name: "DEPLOY_SSH_KEY"}}, KnownHosts: []host.KnownHosts{{Name: "DEPLOY_KNOWN_HOSTS"}}},
		Target: deploy.Target{Variables: map[string]string{}, Secrets: map[string]secret.Secret{}},
	}
}

// Load reads the sources and validates what they say, and reports all
// problems at once. need decides what must be there: files that only a build, a
// push or a deployment reads are looked at only for one. extraKnown are the
// names that compose files and the apps file refer to, so that .env may set
// them; their values are among the variables of the target.
//
// With problems, the Config holds what could be read.
func Load(sources Sources, need Need, extraKnown []string) (Config, problem.Report) {
	c := newConfig()
	report := load(c, schema(c), sources, need, extraKnown)
	return *c, report
}

// load fills a Config by the parsers of a schema that was made for it.
func load(c *Config, schema []Key, sources Sources, need Need, extraKnown []string) problem.Report {
	l := newLoader(schema, sources, need, extraKnown)
	l.requireAll()
	c.Host.AgentSocket = l.environ["SSH_AUTH_SOCK"]
	for _, k := range schema {
		k.parse(l, k.Name, l.value(k))
	}
	for _, combine := range combinations {
		combine(l, c)
	}
	c.byName = l.valuesByName(extraKnown)
	c.Apps.Lookup = c.Secret
	c.addVariables(extraKnown)
	return l.report
}

// knownValue is a value that may be printed if it is open.
type knownValue struct {
	value secret.Secret
	open  bool
}

func (c Config) known(name string) (knownValue, bool) {
	if c.byName == nil {
		return knownValue{}, false
	}
	v, ok := (*c.byName)[name]
	return v, ok
}

// Secret returns the value of any key, for an apps placeholder or for compose's
// environment: a known key with its default, or a name that the environment
// or .env has. It is false for an unset key.
func (c Config) Secret(name string) (secret.Secret, bool) {
	v, ok := c.known(name)
	return v.value, ok
}

// Lookup returns the value of a key that may be printed. It is false for an
// unset key and for one that holds a credential: take Secret for those.
func (c Config) Lookup(name string) (string, bool) {
	v, _ := c.known(name)
	if !v.open {
		return "", false
	}
	return v.value.Reveal(), true
}

// Secrets returns every credential, for a redactor: those of the sources, and
// what was read from files or stands within a URL.
func (c Config) Secrets() []secret.Secret {
	if c.byName == nil {
		return nil
	}
	var all []secret.Secret
	for _, name := range slices.Sorted(maps.Keys(*c.byName)) {
		if v := (*c.byName)[name]; !v.open {
			all = append(all, v.value)
		}
	}
	more := append([]secret.Secret{c.SigningKey.PEM, c.Target.TLS.Key}, passwordsIn(c.Target.Secrets["EXTRA_CONFIG"])...)
	more = slices.AppendSeq(more, maps.Values(c.Target.TLS.DNSVariables))
	more = append(more, repositoryLogin(c.Target.Secrets["RESTIC_REPOSITORY"]))
	for _, mirror := range []secret.Secret{c.Image.Mirrors.PyPI, c.Image.Mirrors.NPM, c.Image.Mirrors.Apt} {
		more = append(more, mirror, credentials(mirror))
	}
	for _, r := range c.Image.Mirrors.Registries {
		// The address of one without a login is in the files of apps.
		if login := credentials(r.URL); login.IsSet() {
			more = append(more, r.URL, login)
		}
	}
	for _, s := range more {
		if s.IsSet() && !slices.ContainsFunc(all, func(known secret.Secret) bool { return known.Reveal() == s.Reveal() }) {
			all = append(all, s)
		}
	}
	return all
}

// Guessable returns the names of the passwords and tokens that a guess finds, in
// order.
func (c Config) Guessable() []string {
	if c.byName == nil {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(*c.byName)) {
		if v := (*c.byName)[name]; !v.open && v.value.Guessable() {
			names = append(names, name)
		}
	}
	if slices.ContainsFunc(passwordsIn(c.Target.Secrets["EXTRA_CONFIG"]), secret.Secret.Guessable) {
		names = append(names, "a password in EXTRA_CONFIG")
	}
	return names
}

// addVariables has the target know the values of names that compose files may
// refer to. What they hold is for the company to know, so none of them prints.
func (c *Config) addVariables(names []string) {
	for _, name := range names {
		if value, ok := c.Secret(name); ok {
			c.Target.Secrets[name] = value
		}
	}
}
