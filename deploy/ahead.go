package deploy

import (
	"context"
	"errors"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// PullAhead brings the image of a release to the host before it is known whether there
// will be a run: nothing else changes there. Forget takes it away again, unless the
// host had it before; it is nil where there is nothing to forget, and there may be
// something with an error too.
func (d Deployer) PullAhead(ctx context.Context, p Plan, image release.Image) (forget func(context.Context), err error) {
	conn := &connection{dial: d.Dial, registry: d.Registry, observe: func(Event) {}}
	defer conn.hangUp()
	if err := conn.connect(ctx); err != nil {
		return nil, err
	}
	target := p.Target.from(conn.registryAddress)
	name := target.pullReference(image)
	var answer *host.RunError
	_, err = conn.get().Run(ctx, script(`docker image inspect --format '{{.Id}}' "$1"`, name), host.Options{})
	if !errors.As(err, &answer) {
		// It is there, or that is not known.
		return nil, err
	}
	err = pullImage(ctx, conn.get(), target.Login, name)
	// A pull that was ended may have been over on the host.
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		h, err := d.Dial(ctx)
		if err != nil {
			return
		}
		defer h.Close()
		// A name is no more than a way to find it: layers that others use stay.
		_, _ = h.Run(ctx, script(`docker image rm "$1"`, name), host.Options{})
	}, err
}

// from returns the target where the host reaches the registry at another address, if
// it does.
func (t Target) from(registry string) Target {
	if registry != "" {
		t.PullAddress = registry
	}
	return t
}
