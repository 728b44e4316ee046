package cli

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/registry"
)

// loadable refuses before a build what load can't do after it.
func loadable(options image.Options) error {
	if len(options.Platforms) > 1 {
		return fmt.Errorf("%w: an image for several platforms can't be loaded into Docker: choose one with --platform", errUsage)
	}
	return nil
}

// load puts an image into the local Docker under its name and version. scratch
// is a folder for it on its way.
func (c *cli) load(ctx context.Context, b built, name, scratch string) error {
	reference := name + ":" + b.lock.SiteVersion
	if err := exec.CommandContext(ctx, "docker", "info", "--format", "{{.ServerVersion}}").Run(); err != nil {
		return fmt.Errorf("load %s into Docker: it does not run on this machine: %w", reference, err)
	}
	archive := filepath.Join(scratch, "docker.tar")
	if err := registry.WriteDocker(archive, b.image, name, b.lock.SiteVersion); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "docker", "load", "--quiet", "--input", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("load %s into Docker: %w\n%s", reference, err, out)
	}
	c.log.Info().Str("image", reference).Msg("loaded: docker images shows it")
	return nil
}
