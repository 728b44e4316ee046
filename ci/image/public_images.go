package image

import (
	"context"
	"fmt"
	"strings"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Bases are the public images of Python and of Node that the image of a lock stands on.
func bases(lock release.Lock) (python, node string) {
	return "python:" + lock.Python + "-slim-bookworm", "node:" + lock.Node + "-bookworm-slim"
}

// packerBase is what the packer stands on. It decides nothing about an image.
const packerBase = "debian:bookworm-slim"

// from returns a public image, by the lock's digest where it has one.
func (b *Builder) from(lock release.Lock, name string, platform dagger.Platform) *dagger.Container {
	address := b.address(name)
	if digest := lock.Bases[name]; digest != "" {
		address += "@" + digest
	}
	return b.Client.Container(dagger.ContainerOpts{Platform: platform}).From(address).
		WithEnvVariable("PATH", searchPath).WithEnvVariable("LANG", "C.UTF-8").
		WithUser("root").WithWorkdir("/")
}

// address is where a public image comes from: from a mirror if there is one.
func (b *Builder) address(name string) string {
	if b.Mirrors.Images == "" {
		return name
	}
	if !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return b.Mirrors.Images + "/" + name
}

// Public is a container of a public image, from the mirror if there is one.
func (b *Builder) Public(name string) *dagger.Container {
	return b.Client.Container().From(b.address(name))
}

// pinBases completes the lock with the digests of the public images. Those
// that the lock has stay: an image is rebuilt on what it stood on.
func (b *Builder) pinBases(ctx context.Context, lock *release.Lock) error {
	python, node := bases(*lock)
	pinned := map[string]string{}
	for _, name := range []string{python, node, packerBase} {
		if digest := lock.Bases[name]; digest != "" && b.NoCache != NoCacheAll {
			pinned[name] = digest
			continue
		}
		reference, err := b.Client.Container().From(b.address(name)).ImageRef(ctx)
		if err != nil {
			return fmt.Errorf("look up base image %s: %w", name, err)
		}
		_, digest, found := strings.Cut(reference, "@")
		if !found {
			return fmt.Errorf("look up base image %s: the engine answers %q, without a digest", name, reference)
		}
		pinned[name] = digest
	}
	lock.Bases = pinned
	return b.checkBases(ctx, *lock)
}

// checkBases finds the public images that are not there for one of the
// platforms. The engine does not notice: of an image for one platform it takes
// that one, whichever is asked for.
func (b *Builder) checkBases(ctx context.Context, lock release.Lock) error {
	var report problem.Report
	python, node := bases(lock)
	for _, platform := range b.Platforms {
		if platform == b.native {
			continue
		}
		for _, name := range []string{python, node} {
			got, err := b.from(lock, name, platform).Platform(ctx)
			if err != nil {
				return fmt.Errorf("look up base image %s for %s: %w", name, platform, err)
			}
			if got != platform {
				report.Addf("image.base-platform", "base image "+name, "choose that platform alone with --platform, have the mirror carry all, or look up the base images anew with --no-cache",
					"is there for %s and not for %s: %s", got, platform, b.address(name)+"@"+lock.Bases[name])
			}
		}
	}
	return report.Err()
}
