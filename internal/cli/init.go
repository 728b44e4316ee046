package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
	"github.com/desiredeffect/erpnext-pipeline/internal/starter"
)

type initOptions struct {
	*globalFlags
	yesFlag
	image, user, sshKey, registry, frappe string
	// set are more keys of .env, as KEY=VALUE.
	set []string
	// apps are more apps, as URL=REF.
	apps []string
	// hostKeys are fingerprints of keys of the host that a person has compared.
	hostKeys []string
	// github is OWNER/NAME, or [fromRemote]; empty to leave GitHub alone.
	github, environment string
	ejectCompose        bool
	// changed reports whether a flag was given, be it empty.
	changed func(flag string) bool
}

// fromRemote stands for the repository that the folder's remote is.
const fromRemote = "origin"

// newInit returns the command that starts a repository.
func newInit(c *cli, global *globalFlags) *cobra.Command {
	o := initOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "write what a folder or a repository needs to release a site: apps.json, .env, workflows",
		Long: "Asks for the image, the site and the host, or takes flags, and writes apps.json, .env with every key and passwords made by chance, .gitignore, the workflows and a folder for hooks. " +
			"What is there already is left as it is; .gitignore gets the lines that it lacks. Without a terminal the flags --image, --site and --host are needed, --host= for none yet, and with a host --user.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.changed = cmd.Flags().Changed
			return c.init(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.image, "image", "", "name of the image, without registry and tag")
	flags.StringVar(&o.user, "user", "", "user to log in to the host as; it must be able to use Docker")
	flags.StringVar(&o.sshKey, "ssh-key", "", "file with the private key to log in with; without one the SSH agent's are used")
	flags.StringVar(&o.registry, "registry", "", "registry to push to, as host or host:port; without one the host pulls through the SSH connection")
	flags.StringVar(&o.frappe, "frappe-version", "", "version of Frappe and ERPNext, 15 or 16")
	flags.StringArrayVar(&o.apps, "app", nil, "one more app, as URL=REF; without =REF its newest tag of the version of Frappe; may be repeated. A frappe or erpnext takes the place of the usual one")
	flags.StringArrayVar(&o.set, "set", nil, "any other key of .env that is no secret, as KEY=VALUE; may be repeated")
	flags.StringArrayVar(&o.hostKeys, "host-key", nil, "fingerprint of a key of the host, SHA256:…, that you have compared on the host; may be repeated")
	flags.BoolVar(&o.ejectCompose, "eject-compose", false, "write the compose file too, to change it; without it the program's own is used, and goes with the program's version")
	flags.StringVar(&o.github, "github", "", "set up the environment at GitHub with the token GITHUB_TOKEN, as =OWNER/NAME, or alone for the repository of the remote origin")
	flags.Lookup("github").NoOptDefVal = fromRemote
	flags.StringVar(&o.environment, "environment", "production", "environment at GitHub that --github sets up")
	o.yesFlag.register(cmd)
	return cmd
}

// start is what a folder is started with.
type start struct {
	// known is what flags, the environment and a .env file say already.
	known config.Config
	// values are those of the .env file to be written.
	values map[string]secret.Secret
	// frappe is the version of Frappe, 15 or 16, of a new apps.json.
	frappe string
	apps   []starter.App
	// hostKeys are lines of known_hosts.
	hostKeys []string
	// repository is the one to set up at GitHub, OWNER/NAME; empty for none.
	repository string
}

// value returns what is known of a key, of what will be in .env first.
func (s start) value(key string) string {
	if v, answered := s.values[key]; answered {
		return v.Reveal()
	}
	v, _ := s.known.Lookup(key)
	return v
}

func (c *cli) init(ctx context.Context, o initOptions) error {
	s, err := c.readStart(ctx, o)
	if err != nil {
		return err
	}
	files, err := c.startFiles(o, s)
	if err != nil {
		return err
	}
	if err := c.writeStart(ctx, o, files); err != nil {
		return err
	}
	return c.afterStart(ctx, o, s)
}

// readStart finds out everything that is written, before anything is.
func (c *cli) readStart(ctx context.Context, o initOptions) (start, error) {
	s := start{values: map[string]secret.Secret{}}
	s.known, _ = config.Load(o.sources(c.environ), 0, nil)
	c.hide(s.known.Secrets()...)
	report := o.more(&s)
	s.repository = c.checkGitHub(ctx, o, s, &report)
	if err := report.Err(); err != nil && c.terminal {
		// Before questions are answered in vain.
		return s, err
	}
	if err := c.answer(ctx, o, &s, &report); err != nil {
		return s, err
	}
	if err := report.Err(); err != nil {
		return s, err
	}
	if !exists(s.known.Apps.Path) {
		var err error
		if s.apps, err = c.chooseApps(ctx, o, s); err != nil {
			return s, err
		}
	}
	return s, c.learnHostKeys(ctx, o, &s)
}

// more takes the values of --set and of flags that stand for a key.
func (o initOptions) more(s *start) (report problem.Report) {
	keys := map[string]config.Key{}
	for _, k := range config.Schema() {
		keys[k.Name] = k
	}
	take := func(subject, key, value string) {
		found := config.Check(key, value)
		for i := range found {
			found[i].Subject = subject
		}
		report.Add(found...)
		s.values[key] = secret.New(value)
	}
	for key, value := range o.keys {
		if *value != "" && keys[key].Name != "APPS_FILE" {
			take("--"+keys[key].Flag, key, *value)
		}
	}
	for _, text := range o.set {
		key, value, found := strings.Cut(text, "=")
		switch k, known := keys[key]; {
		case !found:
			report.Addf("init.set", "--set "+key, "write --set KEY=VALUE", "is not of the form KEY=VALUE")
		case !known:
			report.Addf("init.set", "--set "+key, "de-example.env has every key", "is no key of the configuration")
		case k.Secret:
			report.Addf("init.set", "--set "+key, "write it into "+o.envFile+" afterwards", "is a secret, and others can read command lines")
		default:
			take("--set "+key, key, value)
		}
	}
	return report
}

// startFiles returns the files that a folder gets, in the order in which they are
// written: what keeps the secrets out of git comes before them.
func (c *cli) startFiles(o initOptions, s start) ([]starter.File, error) {
	var files []starter.File
	var errs []error
	add := func(file starter.File, err error) {
		files = append(files, file)
		errs = append(errs, err)
	}
	tokens := tokenNames(s.known.Apps.Path)
	if s.apps == nil {
		add(starter.File{Path: s.known.Apps.Path}, nil)
	} else {
		list, err := starter.AppsJSON(s.apps)
		list.Path = s.known.Apps.Path
		add(list, err)
		entries, report := apps.Parse(list.Path, list.Text)
		errs = append(errs, report.Err())
		tokens = tokensOf(entries)
	}
	if len(s.hostKeys) > 0 {
		add(starter.KnownHosts(s.hostKeys), nil)
	}
	add(starter.Env(o.envFile, s.envValues(tokens)))
	add(starter.HooksReadme())
	if o.ejectCompose {
		add(starter.ComposeFile())
	}
	workflows, err := starter.Workflows(tool(readVersion()), tokens)
	return append(files, workflows...), errors.Join(append(errs, err)...)
}

// envValues returns what the new .env file has, with the names of tokens to fill in.
func (s start) envValues(tokens []string) map[string]secret.Secret {
	values := map[string]secret.Secret{}
	for key, value := range s.values {
		if value.IsSet() {
			values[key] = value
		}
	}
	for _, name := range tokens {
		if _, has := values[name]; !has {
			values[name] = secret.Secret{}
		}
	}
	told := values["DEPLOY_KNOWN_HOSTS"].IsSet() || values["DEPLOY_KNOWN_HOSTS_FILE"].IsSet()
	if len(s.hostKeys) > 0 || exists(starter.KnownHostsFile) && !told && s.value("DEPLOY_HOST") != "" {
		values["DEPLOY_KNOWN_HOSTS_FILE"] = secret.New(starter.KnownHostsFile)
	}
	for _, name := range []string{"ADMIN_PASSWORD", "DB_ROOT_PASSWORD"} {
		values[name] = secret.New(rand.Text())
	}
	return values
}

// tool returns this program as workflows name it.
func tool(v version) starter.Tool {
	t := starter.Tool{Version: v.Version, Commit: v.Commit}
	if v.Modified {
		t.Commit = ""
	}
	return t
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// chooseApps returns the apps of a new apps.json.
func (c *cli) chooseApps(ctx context.Context, o initOptions, s start) ([]starter.App, error) {
	major := uint64(15)
	if s.frappe == "16" {
		major = 16
	}
	list, report := o.appList(s)
	if err := report.Err(); err != nil {
		return nil, err
	}
	servers, err := c.newServers(inputs{config: s.known, cache: c.cacheDir()})
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(app starter.App) bool { return app.Ref == "" }) {
		c.log.Info().Msg("asking for the newest tags of the apps")
	}
	var side sync.WaitGroup
	errs := make([]error, len(list))
	for i := range list {
		if list[i].Ref == "" {
			side.Go(func() { list[i].Ref, errs[i] = servers.Newest(ctx, list[i].URL, major, s.known.Secret) })
		}
	}
	side.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for i := range list {
		app := &list[i]
		if app.Ref != "" {
			continue
		}
		why := fmt.Sprintf("it has no tag of version %d", major)
		if errs[i] != nil {
			why = problemOf(errs[i]).Error()
		}
		if !usualApp(app.URL) {
			report.Add(problem.Problem{Code: "init.app", Subject: "--app " + app.URL, Detail: "its newest tag is not known: " + why, Err: errs[i],
				Remedy: "name a tag, a branch or a commit: --app " + app.URL + "=REF"})
			continue
		}
		app.Ref = fmt.Sprintf("version-%d", major)
		c.log.Warn().Str("why", why).Str("fix", "put a tag there").Msgf("the newest tag of %s is not known: apps.json has the branch %s, which moves", app.URL, app.Ref)
	}
	return list, report.Err()
}
