package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/apps"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type rebuildOptions struct {
	*globalFlags
	pushFlags
	// load puts the image into Docker.
	load bool
	// output is a file for the image; empty for none.
	output string
	// lock is the file to build from; empty for the lock of a version.
	lock string
}

// newRebuild returns the command that builds an image from its lock alone, with
// the packages that it had. It is pushed under its version unless it goes into a
// file or into Docker; where the version names another image already, that
// stays.
func newRebuild(c *cli, global *globalFlags) *cobra.Command {
	o := rebuildOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "rebuild [VERSION]", Short: "build an old version again, from its record or a lock file", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 1) == (o.lock != "") {
				return fmt.Errorf("%w: name a version, or a file with --lock", errUsage)
			}
			version := ""
			if len(args) == 1 {
				version = args[0]
			}
			return c.rebuild(cmd.Context(), o, version)
		},
	}
	o.pushFlags.register(cmd)
	cmd.Flags().BoolVar(&o.load, "load", false, "load the image into the local Docker, and push nothing")
	cmd.Flags().StringVar(&o.output, "output", "", "write the image to a file, as an OCI archive, and push nothing")
	cmd.Flags().StringVar(&o.lock, "lock", "", "file with the lock")
	return cmd
}

func (c *cli) rebuild(ctx context.Context, o rebuildOptions, version string) error {
	const need = config.Build | config.Push
	lock, known, err := c.lockToRebuild(ctx, o, version)
	if err != nil {
		return err
	}
	in, report := c.readInputs(ctx, o.withVersion(lock.SiteVersion), need)
	if err := report.Err(); err != nil {
		return err
	}
	if o.load {
		if err := loadable(in.config.Image); err != nil {
			return err
		}
	}
	r, err := openRegistries(ctx, in, need)
	if err != nil {
		return err
	}
	defer r.close()
	if in.sources, err = apps.ForLock(lock.Apps, in.sources); err != nil {
		return err
	}
	s, err := c.openSession(ctx, in, r.stages, o.buildFlags)
	if err != nil {
		return err
	}
	defer s.close()
	var b built
	err = c.group("build", func() (err error) {
		b, err = s.build(ctx, lock)
		return err
	})
	if err != nil {
		return err
	}
	c.logRebuilt(b.image.Digest.String(), known)
	if o.load || o.output != "" {
		return c.keepLocally(ctx, o, b, r.target.Name, s.scratch)
	}
	pushed, err := c.newPusher(in.config, r.target, s, o.pushFlags).push(ctx, b)
	s.watcher.hide()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, pushed)
	return nil
}

// logRebuilt logs how the image compares with the one that the version names;
// that is empty where it isn't known.
func (c *cli) logRebuilt(digest, known string) {
	switch known {
	case "":
		c.log.Info().Str("digest", digest).Msg("rebuilt")
	case digest:
		c.log.Info().Str("digest", digest).Msg("rebuilt: it is the image that the version names")
	default:
		c.log.Warn().Str("digest", digest).Str("released", known).Msg("rebuilt with the same apps and Python packages, but it is not the same image: Debian's packages or this program have changed since")
	}
}

// keepLocally puts a rebuilt image into Docker, a file or both.
func (c *cli) keepLocally(ctx context.Context, o rebuildOptions, b built, name, scratch string) error {
	if o.load {
		if err := c.load(ctx, b, name, scratch); err != nil {
			return err
		}
	}
	if o.output != "" {
		return registry.WriteArchive(o.output, b.image, b.lock.SiteVersion)
	}
	return nil
}

// lockToRebuild returns the lock of a file, or that of a version: from the
// host's record if there is a host, else from the image in the registry. With
// a version it returns the digest that it names as well.
func (c *cli) lockToRebuild(ctx context.Context, o rebuildOptions, version string) (lock release.Lock, digest string, err error) {
	if o.lock != "" {
		lock, err = readLock(o.lock)
		return lock, "", err
	}
	global := o.withVersion(version)
	if c.needs(global)&config.Deploy != 0 {
		record, err := c.recordOf(ctx, global, version)
		return record.Lock, record.Image.Digest, err
	}
	in, report := c.readInputs(ctx, global, config.Push)
	if err := report.Err(); err != nil {
		return lock, "", err
	}
	r, err := openRegistries(ctx, in, config.Push)
	if err != nil {
		return lock, "", err
	}
	defer r.close()
	image, _, err := registry.Find(ctx, r.target, version)
	if err != nil {
		return lock, "", err
	}
	lock, err = registry.LockOf(ctx, r.target, version)
	return lock, image.Digest, err
}

// readLock reads a lock from a file: one that build --lock wrote, or a record
// that show --json printed.
func readLock(path string) (release.Lock, error) {
	bad := func(detail, remedy string, err error) error {
		return problem.Report{{Code: "lock.unreadable", Subject: path, Detail: detail, Remedy: remedy, Err: err}}.Err()
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return release.Lock{}, bad("can't be read: "+err.Error(), "name the file that build --lock wrote", err)
	}
	var record struct {
		release.Lock
		Inner *release.Lock `json:"lock"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return release.Lock{}, bad("is no JSON: "+err.Error(), "name the file that build --lock wrote, or what show --json printed", err)
	}
	lock := record.Lock
	if record.Inner != nil {
		lock = *record.Inner
	}
	switch {
	case len(lock.Apps) == 0:
		return lock, bad("has no apps in it", "name the file that build --lock wrote, or what show --json printed", nil)
	case lock.Requirements == "":
		return lock, bad("has no Python packages in it: it is of a release from before they were locked", "release those refs anew, under a new version", nil)
	}
	return lock, nil
}
