// Package config turns flags, the process environment and the .env file into
// one validated [Config]. It reads files but never the network.
//
// A flag comes before the environment, the environment before .env, and .env
// before a default. An empty value counts as none: GitHub Actions renders a
// missing secret as an empty string.
package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Sources are where values come from.
type Sources struct {
	// Flags are the flags that were given, by the names of their keys, for
	// instance DE_SITE_VERSION for --version.
	Flags map[string]string
	// Environ is the process environment as os.Environ gives it.
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
	// SiteVersion is a valid image tag; empty where nothing needs it.
	SiteVersion string
	// AppsFile is the path of the list of apps.
	AppsFile string
	// FrappePath and FrappeBranch are frappe's repository and ref, for an
	// apps file without frappe. FrappeBranch may be empty.
	FrappePath, FrappeBranch string
	// Python and Node are full versions, for instance "3.11.6".
	Python, Node string
	// PackagesAsOf bounds the age of Python packages; zero for no bound.
	PackagesAsOf time.Time
	// Platforms are "linux/amd64", "linux/arm64" or both; empty for the
	// engine's own.
	Platforms []string
	// ImageName has neither registry nor tag.
	ImageName string
	// Wkhtmltopdf is a .deb; nil for Debian's own.
	Wkhtmltopdf *Download
	// Chromium is a .zip; nil for none, or where DebianChromium says that
	// Debian's own is wanted.
	Chromium       *Download
	DebianChromium bool
	Mirrors        Mirrors
	Registry       Registry
	Signing        Signing
	// GitHubAPIURL has no slash at its end.
	GitHubAPIURL string
	// GitHubToken is for public repositories; private ones have the token
	// that their URL asks for.
	GitHubToken secret.Secret
	Target      Target
	Compose     Compose

	// byName are the values of all keys, those of compose files and apps
	// placeholders among them. It is a pointer so that it isn't printed.
	byName *map[string]variable
}

// variable is a value that may be printed if it is open, and is no default
// if it was chosen.
type variable struct {
	value        secret.Secret
	open, chosen bool
}

func (c Config) variable(name string) (variable, bool) {
	if c.byName == nil {
		return variable{}, false
	}
	v, ok := (*c.byName)[name]
	return v, ok
}

// Registry is where images are pushed to.
type Registry struct {
	// Host is "host" or "host:port"; empty for the embedded registry.
	Host string
	// Username and Password are both set or both not.
	Username string
	Password secret.Secret
}

// Target is the host that runs the site. Its Host is empty where there is
// none; then nothing else of it matters.
type Target struct {
	Host string
	Port int
	User string
	// SSHKey is the text of the private key, SSHKeyFile the file that has
	// it, AgentSocket the socket of an SSH agent. At most one of the first
	// two is set; when deploying at least one of the three.
	SSHKey        secret.Secret
	SSHKeyFile    string
	SSHPassphrase secret.Secret
	AgentSocket   string
	// KnownHosts is the text of the accepted host keys. Where it is empty
	// they are in KnownHostsFile.
	KnownHosts, KnownHostsFile string
	// Jump is the host to connect through; nil for none.
	Jump *Jump
	// Dir is an absolute path on the host.
	Dir string
	// Project is the compose project.
	Project string
	// ComposeFiles are paths on this machine, in compose's order; no two
	// have the same base name.
	ComposeFiles []string
	// Sites are the sites to migrate.
	Sites []string
	// Strategy is how a release takes over: StrategyCycle or StrategySwap.
	Strategy string
	// BackupFiles says that the backup before a migration takes the site's
	// files too.
	BackupFiles bool
	// DrainLimit is how long jobs may take to end before a release gives up.
	DrainLimit time.Duration
	// KeepReleases is how many releases before the live one stay on the host
	// whole, for a rollback; at least 1.
	KeepReleases int
	// HooksDir is the folder with hooks. It need not exist unless somebody
	// chose it.
	HooksDir string
}

// The strategies of a release: everything down and up again, or the new bench
// beside the old one.
const (
	StrategyCycle = "cycle"
	StrategySwap  = "swap"
)

// Jump is a host to connect through.
type Jump struct {
	User string
	Host string
	Port int
}

// Compose has the variables that the compose files read. Numbers and sizes
// are in the notation of whoever reads them in the container.
type Compose struct {
	HTTPPort          int
	AdminPassword     secret.Secret
	DBRootPassword    secret.Secret
	GunicornWorkers   int
	GunicornThreads   int
	ClientMaxBodySize string
	ProxyReadTimeout  string
	ResticRepository  string
	ResticPassword    secret.Secret
}

// Secret gives the value of any key, for an apps placeholder or for compose's
// environment: a known key with its default, or a name that the environment
// or .env has. It is false for an unset key.
func (c Config) Secret(name string) (secret.Secret, bool) {
	v, ok := c.variable(name)
	return v.value, ok
}

// Lookup gives the value of a key that may be printed. It is false for an
// unset key and for one that holds a credential: take Secret for those.
func (c Config) Lookup(name string) (string, bool) {
	v, _ := c.variable(name)
	if !v.open {
		return "", false
	}
	return v.value.Reveal(), true
}

// Chosen says whether a flag, the environment or .env gives a key its value,
// rather than its default.
func (c Config) Chosen(name string) bool {
	v, _ := c.variable(name)
	return v.chosen
}

// Secrets gives every credential, for a redactor: those of the sources, and
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
	more := []secret.Secret{c.Signing.Key}
	for _, mirror := range []secret.Secret{c.Mirrors.PyPI, c.Mirrors.NPM, c.Mirrors.Apt} {
		more = append(more, mirror, credentials(mirror))
	}
	for _, s := range more {
		if s.IsSet() && !slices.ContainsFunc(all, func(known secret.Secret) bool { return known.Reveal() == s.Reveal() }) {
			all = append(all, s)
		}
	}
	return all
}

// Load reads the sources and validates what they say, and reports all
// problems at once. need decides what must be there: files that only a build, a
// push or a deployment reads are looked at only for one. extraKnown are the names that
// compose files and the apps file refer to, so that .env may set them.
//
// With problems, the Config holds what could be read.
func Load(ctx context.Context, sources Sources, need Need, extraKnown []string) (Config, problem.Report) {
	if sources.ReadFile == nil {
		sources.ReadFile = os.ReadFile
	}
	if sources.Stat == nil {
		sources.Stat = os.Stat
	}
	if sources.CAFolder == "" {
		sources.CAFolder = caFolder
	}
	if sources.Now == nil {
		sources.Now = time.Now
	}
	l := &loader{sources: sources, need: need, schema: Schema(), environ: map[string]string{}, values: map[string]value{}}
	for _, pair := range sources.Environ {
		if name, text, ok := strings.Cut(pair, "="); ok && name != "" {
			l.environ[name] = text
		}
	}
	l.readEnvFile(extraKnown)
	for _, name := range l.names(extraKnown) {
		if v, ok := l.find(name); ok {
			l.values[name] = v
		}
	}
	l.settleAliases()
	var k keys
	err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &k, Lookuper: envconfig.LookuperFunc(func(name string) (string, bool) {
		v, ok := l.values[name]
		return v.text, ok
	})})
	if err != nil {
		l.report.Add(problem.Problem{Code: "config.decode", Subject: "environment", Detail: err.Error(), Err: err})
		return Config{}, l.report
	}
	l.requireAll()
	config := l.validate(k)
	config.byName = l.variables(extraKnown)
	return config, l.report
}

// value is a text with the place that it comes from, for instance ".env:12",
// "environment" or "--version".
type value struct{ text, place string }

// loader carries what Load has read so far.
type loader struct {
	sources Sources
	need    Need
	schema  []Key
	environ map[string]string
	file    envFile
	// fileMissing says that there is no .env file though one was named.
	fileMissing bool
	// values has no empty ones and no defaults.
	values map[string]value
	report problem.Report
}

// names gives every known name: the schema's, their aliases, and more.
func (l *loader) names(more []string) []string {
	var names []string
	for _, k := range l.schema {
		names = append(names, k.Name)
		if k.Alias != "" {
			names = append(names, k.Alias)
		}
	}
	return append(names, more...)
}

// readEnvFile reads .env and reports what is wrong with the file itself.
func (l *loader) readEnvFile(extraKnown []string) {
	name := l.sources.EnvFile
	if name == "" {
		return
	}
	data, err := l.sources.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		l.fileMissing = true
		return
	}
	if err != nil {
		l.report.Add(problem.Problem{Code: "config.env-file", Subject: name, Err: err,
			Detail: "can't be read: " + reason(err), Remedy: "make it a file that you can read"})
		return
	}
	l.file, l.report = parseEnv(name, data, func(name string) (string, bool) {
		text, ok := l.environ[name]
		return text, ok
	})
	if l.need == HostAccess {
		// Compose files and the apps file, which would say what else may be
		// there, need not be on the machine of somebody on call.
		return
	}
	known := l.names(extraKnown)
	for _, key := range l.file.keys {
		if slices.Contains(known, key) {
			continue
		}
		remedy := "remove it; de-example.env has every key"
		near := problem.Nearest(strings.ToUpper(key), known)
		if near != "" {
			remedy = "write " + near + ", or remove it; de-example.env has every key"
		}
		shown := named(key)
		if near != "" {
			shown = key
		}
		l.report.Addf("config.unknown", place(name, l.file.lines[key]), remedy, "%s is not known", shown)
	}
}

// find gives the value of a name from the first source that has one.
func (l *loader) find(name string) (value, bool) {
	if text := l.sources.Flags[name]; text != "" {
		return value{text, l.flagPlace(name)}, true
	}
	if text := l.environ[name]; text != "" {
		return value{text, "environment"}, true
	}
	if text := l.file.values[name]; text != "" {
		return value{text, place(l.sources.EnvFile, l.file.lines[name])}, true
	}
	return value{}, false
}

func (l *loader) flagPlace(name string) string {
	for _, k := range l.schema {
		if k.Name == name && k.Flag != "" {
			return "--" + k.Flag
		}
	}
	return "flag for " + name
}

// settleAliases gives a key the value of its older name and the other way
// round, and reports two that differ.
func (l *loader) settleAliases() {
	for _, k := range l.schema {
		if k.Alias == "" {
			continue
		}
		current, set := l.values[k.Name]
		old, oldSet := l.values[k.Alias]
		switch {
		case set && oldSet && current.text != old.text:
			l.report.Addf("config.conflict", current.place, "keep one of them", "%s and its older name %s (%s) have different values", k.Name, k.Alias, old.place)
		case set:
			l.values[k.Alias] = current
		case oldSet:
			l.values[k.Name] = old
		}
	}
}

// requireAll reports the keys without a value that is needed.
func (l *loader) requireAll() {
	var missing []Key
	for _, k := range l.schema {
		if _, set := l.values[k.Name]; !set && k.Default == "" && k.Need&l.need != 0 {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return
	}
	actions := l.environ["GITHUB_ACTIONS"] == "true"
	if l.fileMissing && !actions {
		l.report.Addf("config.env-file", l.sources.EnvFile, "copy de-example.env to "+l.sources.EnvFile+" and fill it in", "there is no such file, and not everything that is needed is set without it")
	}
	for _, k := range missing {
		subject, what := "environment", "is not set"
		if line, ok := l.file.lines[k.Name]; ok {
			subject, what = place(l.sources.EnvFile, line), "is empty"
		} else if _, ok := l.environ[k.Name]; ok {
			what = "is empty"
		} else if l.sources.EnvFile != "" && !l.fileMissing {
			subject = l.sources.EnvFile
		}
		where := "set it in " + l.sources.EnvFile
		switch {
		case actions && k.Secret:
			where = "set it from a secret of the repository or its environment"
		case actions:
			where = "set it from a variable of the repository or its environment"
		case l.sources.EnvFile == "":
			where = "set it in the environment"
		}
		if k.Flag != "" {
			where += " or with --" + k.Flag
		}
		purpose, _, _ := strings.Cut(k.Doc, ". ")
		l.report.Addf("config.missing", subject, where, "%s %s, but needed for %s (%s)", k.Name, what, k.Need&l.need, strings.TrimSuffix(purpose, "."))
	}
}

// bad reports the value of a key.
func (l *loader) bad(key, remedy, format string, args ...any) {
	l.report.Addf("config.value", l.where(key), remedy, "%s %s", key, fmt.Sprintf(format, args...))
}

// where gives the place that a key's value comes from.
func (l *loader) where(key string) string {
	if v, ok := l.values[key]; ok {
		return v.place
	}
	return "default"
}

// credential are the endings of names that hold credentials.
var credential = []string{"_PAT", "TOKEN", "PASSWORD", "PASSPHRASE", "SECRET", "_KEY", "_CREDENTIALS"}

// variables gives the values of all known names, and which of them may be
// printed: not the schema's secrets, nor anything whose name sounds like one.
func (l *loader) variables(extraKnown []string) *map[string]variable {
	all := map[string]variable{}
	add := func(name, text string, isSecret bool) {
		if text != "" {
			_, chosen := l.values[name]
			all[name] = variable{value: secret.New(text), open: !isSecret, chosen: chosen}
		}
	}
	for _, name := range extraKnown {
		add(name, l.values[name].text, slices.ContainsFunc(credential, func(ending string) bool { return strings.HasSuffix(name, ending) }))
	}
	for _, k := range l.schema {
		text := k.Default
		if v, ok := l.values[k.Name]; ok {
			text = v.text
		}
		add(k.Name, text, k.Secret)
		if k.Alias != "" {
			add(k.Alias, l.values[k.Alias].text, k.Secret)
		}
	}
	return &all
}

// reason gives what of a file's error a person needs: not its path again.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
