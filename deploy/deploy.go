// Package deploy puts an image live on a host: what it will do, doing it, and
// what was done.
//
// [Inspect] looks at the host and changes nothing. [MakePlan] returns what a
// release would do, or what is in its way, [PlanRollback] the same of going
// back. [Deployer.Run] has the host do it. Each strategy is one list of steps:
// first.go, cycle.go, swap.go, rollback.go and prune.go. The steps are in
// steps.go, and their scripts in the folder steps; read these first.
//
// The host does the work by itself. The client uploads a run, a folder of
// numbered scripts with the program that carries them out (package runner),
// starts that, and from then on only follows: losing the connection changes
// nothing, and a new connection follows on.
//
// On the host, in Target.Dir:
//
//	releases/VERSION/   the compose set, .env (mode 0600) and release.json
//	current             a link to the release that is live
//	runs/ID/            steps, journal and log of a run
//	lock                the deploy lock: which run is under way
//	backups/ID/         the backup that a run took before it migrated
package deploy

import (
	"context"
	"io"
	"net"
	"path"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// Host is what a deploy needs of a connection to the host; [host.Host] is one.
type Host interface {
	Run(ctx context.Context, argv []string, o host.Options) (host.Result, error)
	UploadTree(ctx context.Context, dir string, files []host.File) error
	StartDetached(ctx context.Context, argv []string, log string) (host.Job, error)
	Follow(ctx context.Context, job, file string, offset int64, w io.Writer) (next int64, state host.JobState, err error)
	Forward(ctx context.Context, address string, dial func(ctx context.Context) (net.Conn, error)) (*host.Forward, error)
	Close() error
}

var _ Host = (*host.Host)(nil)

// layout knows where things are on the host.
type layout struct{ dir string }

func (l layout) run(id string) string    { return path.Join(l.dir, "runs", id) }
func (l layout) log(id string) string    { return path.Join(l.run(id), "log") }
func (l layout) backup(id string) string { return path.Join(l.dir, "backups", id) }
