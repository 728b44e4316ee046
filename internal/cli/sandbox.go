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
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/image"
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
	// repositories is a folder with the apps to release; empty for where
	// apps.json has them from.
	repositories string
}

// newSandbox returns the command that keeps a sandbox up for the others.
func newSandbox(c *cli, global *globalFlags) *cobra.Command {
	o := sandboxOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "an engine and a host on this machine, to try your own release on before any host is touched",
		Long: "Starts an engine and a host on this machine and stays until Ctrl-C. Meanwhile a file has the configuration with which every other command works there. " +
			"From your .env it has what builds the image and what your compose files refer to; your registry, your host, its passwords and what the site reaches from there (EXTRA_CONFIG, restic) stay out of it. " +
			"In a folder without an apps.json the demo's small apps are released.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.sandbox(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.write, "write", "sandbox.env", "file for the configuration; it must not be there yet, and goes with the sandbox")
	cmd.Flags().IntVar(&o.port, "port", 8080, "port of this machine for the site, if it is free")
	cmd.Flags().StringVar(&o.repositories, "repositories", "", "folder of bare repositories OWNER/NAME.git, which are fetched in place of those in apps.json with the same owner and name")
	return cmd
}

// inSandbox starts a sandbox for something to be done in it, and ends it.
func (c *cli) inSandbox(ctx context.Context, o sandbox.Options, do func(*sandbox.World) error) (err error) {
	if o.CacheDir, err = localengine.DefaultCacheDir(); err != nil {
		return err
	}
	if c.verbose {
		o.EngineLog = c.err
	}
	o.Log = c.log
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

// ownRelease is what of a folder is released to a sandbox.
type ownRelease struct {
	// values are what the file of the sandbox takes over.
	values map[string]secret.Secret
	// list is the apps file, with an entry for each app in it; nil where there is
	// none.
	list    []map[string]any
	entries []apps.Entry
	// served tells of each entry whether the sandbox serves its repository.
	served []bool
}

// readOwn reads what is in the current folder.
func (c *cli) readOwn(o sandboxOptions) (own ownRelease, err error) {
	if _, err := os.Stat(o.write); !errors.Is(err, fs.ErrNotExist) {
		return own, problem.Report{{Code: "sandbox.file", Subject: o.write, Detail: "is there already, and may be the file of another sandbox or your own",
			Remedy: "delete it if no sandbox uses it, or name another one with --write", Err: err}}.Err()
	}
	values, others, report := config.Carried(o.sources(c.environ))
	own.values = values
	if len(others) > 0 {
		c.log.Info().Strs("variables", others).Msg("the sandbox's containers get what your compose files refer to, also of these")
	}
	file := "apps.json"
	if set, ok := values["APPS_FILE"]; ok {
		file = set.Reveal()
	}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.repositories != "":
		report.Add(problem.Problem{Code: "sandbox.no-apps", Subject: file, Detail: "is not there, and the folder of repositories is for the apps in it",
			Remedy: "write it, or leave --repositories out for the demo's small apps", Err: err})
		return own, report.Err()
	case errors.Is(err, fs.ErrNotExist):
		return own, report.Err()
	case err != nil:
		return own, fmt.Errorf("read apps file: %w", err)
	}
	var unsound problem.Report
	own.entries, unsound = apps.Parse(file, data)
	report.Add(unsound...)
	if err := report.Err(); err != nil {
		return own, err
	}
	if err := json.Unmarshal(data, &own.list); err != nil {
		return own, fmt.Errorf("read %s: %w", file, err)
	}
	own.served = make([]bool, len(own.entries))
	if o.repositories == "" {
		return own, nil
	}
	return own, own.serve(c, file, o.repositories)
}

// serve takes the apps from the folder of repositories, as far as they are there:
// frappe too, where it is not in the apps file.
func (own *ownRelease) serve(c *cli, file, repositories string) error {
	isFrappe := func(e apps.Entry) bool { return e.App() == "frappe" }
	if branch := own.values["FRAPPE_BRANCH"]; branch.IsSet() && !slices.ContainsFunc(own.entries, isFrappe) {
		address := cmp.Or(own.values["FRAPPE_PATH"].Reveal(), "https://github.com/frappe/frappe")
		own.list = slices.Insert(own.list, 0, map[string]any{"url": address, "branch": branch.Reveal()})
		data, err := json.Marshal(own.list)
		if err != nil {
			return fmt.Errorf("render apps file: %w", err)
		}
		var unsound problem.Report
		if own.entries, unsound = apps.Parse(file+" with FRAPPE_PATH and FRAPPE_BRANCH", data); len(unsound) > 0 {
			return unsound.Err()
		}
	}
	// It would contradict the address from which the sandbox has it.
	delete(own.values, "FRAPPE_PATH")
	own.served = make([]bool, len(own.entries))
	for i, entry := range own.entries {
		info, err := os.Stat(filepath.Join(repositories, entry.Owner, entry.Repo+".git"))
		if own.served[i] = err == nil && info.IsDir(); !own.served[i] {
			c.log.Info().Str("app", entry.App()).Msg("is not in the folder of repositories, and is fetched from where the apps file says")
		}
	}
	return nil
}

// bases are the public images that the release is made of, where that can be seen
// in the folder of repositories.
func (own ownRelease) bases(ctx context.Context, repositories string) (images.Set, error) {
	for i, entry := range own.entries {
		if entry.App() != "frappe" || !own.served[i] {
			continue
		}
		frappe := fixtures.Selection{{Owner: entry.Owner, Name: entry.Repo, Ref: entry.Ref}}
		text, err := frappe.FrappeInit(ctx, repositories)
		if err != nil {
			return nil, err
		}
		python, node := image.BasesOf(text)
		return images.Set{python, node}, nil
	}
	return nil, nil
}

// configuration returns the text of the file with which other commands work on the
// sandbox.
func (own ownRelease) configuration(world *sandbox.World, repositories string) ([]byte, map[string]string, error) {
	values := maps.Clone(own.values)
	place, err := world.Place()
	if err != nil {
		return nil, nil, err
	}
	endpoint := world.Engine.Endpoint()
	place["DAGGER_RUNNER_HOST"], place["DAGGER_CLI_BIN"] = endpoint.RunnerHost, endpoint.CLI
	if own.list == nil || repositories != "" {
		place["GITHUB_API_URL"] = world.GitHub.APIURL()
	}
	const version = "1.0.0"
	switch {
	case own.list == nil:
		if place["APPS_FILE"], err = world.WriteApps(version, fixtures.Version1()); err != nil {
			return nil, nil, err
		}
		place["DE_MACRS_PAT"] = world.Token.Reveal()
	case repositories != "":
		if place["APPS_FILE"], err = own.writeApps(world); err != nil {
			return nil, nil, err
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
		if own.served[i] {
			own.list[i]["url"] = world.GitHub.URL() + "/" + entry.Owner + "/" + entry.Repo
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
	own, err := c.readOwn(o)
	if err != nil {
		return err
	}
	bases, err := own.bases(ctx, o.repositories)
	if err != nil {
		return err
	}
	options := sandbox.Options{Repositories: o.repositories, Name: "sandbox", HTTPPort: o.port, Images: bases}
	if own.list == nil {
		// The demo's apps are its own.
		options.Repositories = ""
	}
	return c.inSandbox(ctx, options, func(world *sandbox.World) error {
		text, place, err := own.configuration(world, options.Repositories)
		if err != nil {
			return err
		}
		// As it is about to be printed, and is one for this alone.
		password := place["ADMIN_PASSWORD"]
		if err := writeNew(o.write, text); err != nil {
			return err
		}
		defer c.removeUnchanged(o.write, text)
		_, port, _ := strings.Cut(world.Host.SiteAddress(), ":")
		fmt.Fprintf(c.out, "%s has the configuration. In another terminal, in this folder:\n\n    pipeline release --env-file %s\n\n"+
			"puts the site at http://%s:%s (log in as Administrator with the password %s). Ctrl-C ends the sandbox.\n", o.write, o.write, sandbox.Site, port, password)
		c.flush()
		<-ctx.Done()
		return nil
	})
}

// writeNew writes a file with secrets that was not there.
func writeNew(name string, text []byte) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.Write(text)
	return err
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
