package host

import (
	"context"
	"crypto/rand"
	"fmt"

	"dagger.io/dagger"
)

// diskOf is the disk of the host of that name.
func diskOf(client *dagger.Client, name string) *dagger.CacheVolume {
	return client.CacheVolume("sandbox-host-" + name)
}

// CopyDisk makes the disk of one host the same as that of another. Neither may
// run. A host that is then started without Fresh goes on with the copy, so that
// what takes long to set up is set up once.
func CopyDisk(ctx context.Context, client *dagger.Client, from, to string) error {
	const source, target = "/from", "/to"
	// Docker's data has devices and attributes of which only root may make
	// copies.
	_, err := anew(ctx, client.Container().From(image).
		WithMountedCache(source, diskOf(client, from)).
		WithMountedCache(target, diskOf(client, to)),
		"find "+target+" -mindepth 1 -delete && cp -a "+source+"/. "+target)
	if err != nil {
		return fmt.Errorf("copy disk of host %s: %w", from, err)
	}
	return nil
}

// EmptyDisk removes everything from the disk of a host.
func EmptyDisk(ctx context.Context, client *dagger.Client, name string) error {
	_, err := anew(ctx, client.Container().From(image).WithMountedCache(disk, diskOf(client, name)),
		"find "+disk+" -mindepth 1 -delete")
	if err != nil {
		return fmt.Errorf("empty disk of host %s: %w", name, err)
	}
	return nil
}

// anew runs a script with all rights, whether the engine has run it before or
// not, and returns what it prints.
func anew(ctx context.Context, container *dagger.Container, script string) (string, error) {
	out, err := container.
		WithEnvVariable("NOW", rand.Text()).
		WithExec([]string{"sh", "-c", script}, dagger.ContainerWithExecOpts{InsecureRootCapabilities: true}).
		Stdout(ctx)
	return out, execError(err)
}
