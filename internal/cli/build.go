package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

type buildOptions struct {
	*globalFlags
	buildFlags
	// load puts the image into Docker.
	load bool
	// output and lock are files for the image and its lock; empty for none.
	output, lock string
}

// newBuild returns the command that builds the image and pushes nothing.
func newBuild(c *cli, global *globalFlags) *cobra.Command {
	o := buildOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "build", Short: "build the image", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.build(cmd.Context(), o) },
	}
	o.buildFlags.register(cmd)
	cmd.Flags().BoolVar(&o.load, "load", false, "load the image into the local Docker")
	cmd.Flags().StringVar(&o.output, "output", "", "write the image to a file, as an OCI archive")
	cmd.Flags().StringVar(&o.lock, "lock", "", "write the lock to a file, for rebuild")
	return cmd
}

func (c *cli) build(ctx context.Context, o buildOptions) error {
	return c.withCandidate(ctx, o.globalFlags, o.buildFlags, config.Build, func(next candidate, _ registries, s *session) error {
		if o.load {
			if err := loadable(next.config.Image); err != nil {
				return err
			}
		}
		var b built
		err := c.group("build", func() (err error) {
			b, err = s.build(ctx, next.lock)
			return err
		})
		if err != nil {
			return err
		}
		if o.load {
			if err := c.load(ctx, b, next.config.Registry.Name, s.scratch); err != nil {
				return err
			}
		}
		if o.lock != "" {
			if err := writeLock(o.lock, b.lock); err != nil {
				return err
			}
		}
		if o.output != "" {
			return registry.WriteArchive(o.output, b.image, b.lock.SiteVersion)
		}
		return nil
	})
}

// writeLock writes a complete lock to a file, for a rebuild.
func writeLock(path string, lock release.Lock) error {
	text, err := json.MarshalIndent(lock, "", "  ")
	if err != nil {
		return fmt.Errorf("encode lock: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}
