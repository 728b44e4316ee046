package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	fixtures "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

type sandboxOptions struct {
	*globalFlags
	// write is the file for the configuration.
	write string
	port  int
	// bare has the host be a server as it is rented.
	bare bool
	// repositories is a folder with the apps to release; empty for where
	// apps.json has them from.
	repositories string
	// carry are names of .env for compose files.
	carry []string
}

// newSandbox returns the command that keeps a sandbox up for the others.
func newSandbox(c *cli, global *globalFlags) *cobra.Command {
	o := sandboxOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "an engine and a host on this machine, to try your own release on before any host is touched",
		Long: "Starts an engine and a host on this machine and stays until Ctrl-C. Meanwhile a file has the configuration with which every other command works there, and nowhere else. " +
			"From your .env it has what builds the image, with the tokens for it. What belongs to your host and registry stays out of it: addresses, passwords, keys, EXTRA_CONFIG, restic and hooks. " +
			"So do variables of your own, which may lead to something real; --carry NAME takes one over for your compose files. " +
			"In a folder without an apps.json the demo's small apps are released.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.sandbox(cmd.Context(), o) },
	}
	cmd.Flags().StringArrayVar(&o.carry, "carry", nil, "take over a variable of .env that your compose files refer to, such as DB_HOST; may be repeated")
	cmd.Flags().StringVar(&o.write, "write", ".env.sandbox", "file for the configuration; it must not be there yet, and goes with the sandbox")
	cmd.Flags().IntVar(&o.port, "port", 8080, "port of this machine for the site, if it is free")
	cmd.Flags().BoolVar(&o.bare, "bare", false, "have the host be a server as it is rented, for pipeline setup to make ready")
	cmd.Flags().StringVar(&o.repositories, "repositories", "", "folder of bare repositories OWNER/NAME.git, which are fetched in place of those in apps.json with the same owner and name")
	return cmd
}

// inSandbox starts a sandbox for something to be done in it, and ends it.
func (c *cli) inSandbox(ctx context.Context, o sandbox.Options, global *globalFlags, do func(*sandbox.World) error) (err error) {
	if o.CacheDir, err = localengine.DefaultCacheDir(); err != nil {
		return err
	}
	if c.verbose {
		o.EngineLog = c.err
	}
	o.Log = c.log
	c.preferDocker(&o, global)
	start := time.Now()
	world, err := sandbox.Start(ctx, o)
	if err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	defer func() {
		c.log.Info().Msg("ending the sandbox")
		if closing := world.Close(context.WithoutCancel(ctx)); closing != nil {
			err = errors.Join(err, fmt.Errorf("end sandbox: %w", closing))
		}
	}()
	c.hide(world.Token, world.Key)
	for _, standIn := range world.StandIns {
		c.log.Info().Stringer("image", standIn).Msg("base image")
	}
	c.log.Info().Str("took", seconds(time.Since(start))).Msg("the sandbox is up")
	return do(world)
}

// preferDocker has the engine run in Docker where it can, with what the configuration
// says about where it comes from.
func (c *cli) preferDocker(o *sandbox.Options, global *globalFlags) {
	// A problem with other keys is none of the sandbox's.
	cfg, _ := config.Load(global.sources(c.environ), 0, nil)
	o.Docker, o.DaggerCLI, o.Hub = true, cfg.Engine.CLI, cfg.Image.Mirrors.Images
	if strings.Contains(o.Hub, "/") {
		c.log.Warn().Str("IMAGE_MIRROR", o.Hub).Msg("the sandbox's host can't use a mirror under a path, and fetches images of docker.io itself")
		o.Hub = ""
	}
}

// ownRelease is what of a folder is released to a sandbox.
type ownRelease struct {
	// repositories is the folder of those that the sandbox serves; empty for none.
	repositories string
	// values are what the file of the sandbox takes over.
	values map[string]secret.Secret
	// list is the apps file, with an entry for each app in it; nil where there is
	// none.
	list    []map[string]any
	entries []apps.Entry
	// frappe is the one of FRAPPE_PATH and FRAPPE_BRANCH, if they count.
	frappe *apps.Entry
}

// readOwn reads what is in the current folder.
func (c *cli) readOwn(o sandboxOptions) (own ownRelease, err error) {
	if _, err := os.Stat(o.write); !errors.Is(err, fs.ErrNotExist) {
		return own, problem.Report{{Code: "sandbox.file", Subject: o.write, Detail: "is there already, and may be the file of another sandbox or your own",
			Remedy: "delete it if no sandbox uses it, or name another one with --write", Err: err}}.Err()
	}
	if len(o.refs) > 0 || len(o.sources(nil).Flags) > 0 {
		return own, fmt.Errorf("%w: sandbox takes what to release from .env; flags for it go with the command that releases", errUsage)
	}
	values, others, report := config.Carried(o.sources(c.environ))
	own = ownRelease{repositories: o.repositories, values: values}
	file, named := values["APPS_FILE"].Reveal(), values["APPS_FILE"].IsSet()
	if !named {
		file = "apps.json"
	}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && (named || o.repositories != ""):
		report.Add(problem.Problem{Code: "sandbox.no-apps", Subject: file, Detail: "is not there, and has the apps to release",
			Remedy: "write it, or leave APPS_FILE and --repositories out for the demo's small apps", Err: err})
	case errors.Is(err, fs.ErrNotExist):
		// The demo's apps have their own frappe.
		delete(own.values, "FRAPPE_PATH")
		delete(own.values, "FRAPPE_BRANCH")
	case err != nil:
		return own, fmt.Errorf("read apps file: %w", err)
	default:
		var unsound problem.Report
		own.entries, unsound = apps.Parse(file, data)
		report.Add(unsound...)
	}
	// The tokens of apps have names of their own.
	own.carry(c, others, append(tokensOf(own.entries), o.carry...))
	if err := report.Err(); err != nil {
		return own, err
	}
	// What can't be written is better known before minutes have passed.
	if _, err := compose.DotEnv(own.values); err != nil || data == nil {
		return own, err
	}
	if err := json.Unmarshal(data, &own.list); err != nil {
		return own, fmt.Errorf("read %s: %w", file, err)
	}
	return own, own.find(c)
}

// carry takes over those that are wanted of variables that this program does not know.
func (own *ownRelease) carry(c *cli, others map[string]secret.Secret, wanted []string) {
	var left []string
	for _, name := range slices.Sorted(maps.Keys(others)) {
		if slices.Contains(wanted, name) {
			own.values[name] = others[name]
		} else {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		c.log.Warn().Strs("variables", left).Msg("are left out of the sandbox, because they may lead to something real: --carry NAME takes one over")
	}
}

// find finds out which frappe FRAPPE_PATH and FRAPPE_BRANCH name, and says which apps
// come from elsewhere.
func (own *ownRelease) find(c *cli) error {
	if path, branch := own.values["FRAPPE_PATH"], own.values["FRAPPE_BRANCH"]; own.repositories != "" && (path.IsSet() || branch.IsSet()) {
		one, err := json.Marshal([]map[string]string{{
			"url": cmp.Or(path.Reveal(), "https://github.com/frappe/frappe"), "branch": cmp.Or(branch.Reveal(), "HEAD")}})
		if err != nil {
			return fmt.Errorf("render FRAPPE_PATH: %w", err)
		}
		entries, unsound := apps.Parse("FRAPPE_PATH", one)
		if err := unsound.Err(); err != nil {
			return err
		}
		own.frappe = &entries[0]
	}
	for _, entry := range own.entries {
		switch {
		case own.serves(entry):
		case entry.Scheme == "ssh":
			c.log.Warn().Str("app", entry.App()).Str("host", entry.Host).Msg("is fetched over SSH: add the key of that host to DEPLOY_KNOWN_HOSTS in the file of the sandbox")
		case own.repositories != "":
			c.log.Info().Str("app", entry.App()).Msg("is not in the folder of repositories, and is fetched from where the apps file says")
		}
	}
	return nil
}

// serves reports whether the sandbox serves the repository of an entry.
func (own ownRelease) serves(entry apps.Entry) bool {
	if own.repositories == "" {
		return false
	}
	info, err := os.Stat(filepath.Join(own.repositories, entry.Owner, entry.Repo+".git"))
	return err == nil && info.IsDir()
}

// addressIn returns where a sandbox serves a repository.
func addressIn(world *sandbox.World, entry apps.Entry) string {
	return world.GitHub.URL() + "/" + entry.Owner + "/" + entry.Repo
}

// bases are the public images that the release is made of, where that can be seen
// in the folder of repositories.
func (own ownRelease) bases(ctx context.Context) (images.Set, error) {
	frappe := own.frappe
	for _, entry := range own.entries {
		if entry.App() == "frappe" {
			frappe = &entry
		}
	}
	if frappe == nil || !own.serves(*frappe) {
		return nil, nil
	}
	return basesOf(ctx, fixtures.Selection{{Owner: frappe.Owner, Name: frappe.Repo, Ref: frappe.Ref}}, own.repositories)
}

// configuration returns the text of the file with which other commands work on the
// sandbox.
func (own ownRelease) configuration(world *sandbox.World) ([]byte, map[string]string, error) {
	values := maps.Clone(own.values)
	place, err := world.Place()
	if err != nil {
		return nil, nil, err
	}
	endpoint := world.Engine.Endpoint()
	place["DAGGER_RUNNER_HOST"], place["DAGGER_CLI_BIN"], place["SANDBOX"] = endpoint.RunnerHost, endpoint.CLI, world.Dir
	// The company's own steps may tell others of a release.
	place["HOOKS_DIR"] = filepath.Join(world.Dir, "hooks")
	if err := os.Mkdir(place["HOOKS_DIR"], 0o700); err != nil {
		return nil, nil, fmt.Errorf("make folder for hooks: %w", err)
	}
	if own.list == nil || own.repositories != "" {
		place["GITHUB_API_URL"] = world.GitHub.APIURL()
	}
	const version = "1.0.0"
	switch {
	case own.list == nil:
		if place["APPS_FILE"], err = world.WriteApps(version, fixtures.Version1()); err != nil {
			return nil, nil, err
		}
		place["DE_MACRS_PAT"] = world.Token.Reveal()
	case own.repositories != "":
		if place["APPS_FILE"], err = own.writeApps(world); err != nil {
			return nil, nil, err
		}
		if own.frappe != nil && own.serves(*own.frappe) {
			place["FRAPPE_PATH"] = addressIn(world, *own.frappe)
		}
	}
	for name, value := range place {
		values[name] = secret.New(value)
	}
	for name, value := range map[string]string{"IMAGE_NAME": "sandbox/erpnext", "DE_SITE_VERSION": version} {
		if !values[name].IsSet() {
			values[name] = secret.New(value)
		}
	}
	text, err := compose.DotEnv(values)
	if err != nil {
		return nil, nil, err
	}
	return append([]byte("# Written by pipeline sandbox, and gone with it.\n"), text...), place, nil
}

// writeApps writes the apps file with the sandbox's addresses.
func (own ownRelease) writeApps(world *sandbox.World) (string, error) {
	for i, entry := range own.entries {
		if own.serves(entry) {
			own.list[i]["url"] = addressIn(world, entry)
		}
	}
	data, err := json.MarshalIndent(own.list, "", "  ")
	if err != nil {
		return "", fmt.Errorf("render apps file: %w", err)
	}
	file := filepath.Join(world.Dir, "apps.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", fmt.Errorf("write apps file: %w", err)
	}
	return file, nil
}

// sandbox keeps a sandbox up until the context ends.
func (c *cli) sandbox(ctx context.Context, o sandboxOptions) error {
	// A terminal that is closed ends it as Ctrl-C does.
	if !signal.Ignored(syscall.SIGHUP) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	own, err := c.readOwn(o)
	if err != nil {
		return err
	}
	bases, err := own.bases(ctx)
	if err != nil {
		return err
	}
	options := sandbox.Options{Repositories: o.repositories, Name: "sandbox", HTTPPort: o.port, Images: bases, Bare: o.bare}
	return c.inSandbox(ctx, options, o.globalFlags, func(world *sandbox.World) error {
		text, place, err := own.configuration(world)
		if err != nil {
			return err
		}
		// As it is about to be printed, and is one for this alone.
		password := place["ADMIN_PASSWORD"]
		if err := writeNew(o.write, text, 0o600); err != nil {
			return err
		}
		defer c.removeUnchanged(o.write, text)
		_, port, _ := strings.Cut(world.Host.SiteAddress(), ":")
		before := ""
		if o.bare {
			before = fmt.Sprintf("    pipeline setup --env-file %s %s\n", o.write, strings.Join(world.SetupFlags(), " "))
		}
		fmt.Fprintf(c.out, "%s has the configuration. In another terminal, in this folder:\n\n%s    pipeline release --env-file %s\n\n"+
			"puts the site at http://%s:%s (log in as Administrator with the password %s). Ctrl-C ends the sandbox.\n", o.write, before, o.write, sandbox.Site, port, password)
		c.flush()
		<-ctx.Done()
		return nil
	})
}

// removeUnchanged removes a file that has the text that was written to it.
func (c *cli) removeUnchanged(name string, text []byte) {
	now, err := os.ReadFile(name)
	if err == nil && string(now) == string(text) {
		err = os.Remove(name)
	} else if err == nil {
		c.log.Warn().Str("file", name).Msg("was changed since, and is left; its sandbox is gone")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn().Err(err).Msg("the sandbox's configuration is still there")
	}
}
