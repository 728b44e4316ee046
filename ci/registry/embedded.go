package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/gofrs/flock"
	"github.com/sirupsen/logrus"
)

// Embedded is a registry inside this process, for the company that has none.
// It listens on the loopback alone and stores its blobs in a folder, so that
// the next release sends the host only what it does not have.
type Embedded struct {
	address string
	server  *http.Server
	app     *handlers.App
	dir     string
	// lock is shared by all that have the folder open, and exclusive while it is
	// tidied up; nil where files can't be locked.
	lock *flock.Flock
}

// lockInterval is how often it is looked whether another process has tidied up.
const lockInterval = 50 * time.Millisecond

// Serve starts the embedded registry over a folder, which it creates. Where another
// process tidies it up, see [Embedded.Collect], it waits until that has ended.
func Serve(ctx context.Context, dir string) (*Embedded, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create registry folder: %w", err)
	}
	// distribution logs through logrus' own global logger, and nothing else
	// here does. What goes wrong reaches us as the answer to a request.
	logrus.SetLevel(logrus.PanicLevel)
	config := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem": {"rootdirectory": dir},
		"delete":     {"enabled": true},
		// The process seldom lives long enough to purge anything.
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	config.HTTP.Secret = rand.Text()
	config.Catalog.MaxEntries = 1000 // what clients ask for at once
	lock := flock.New(filepath.Join(dir, "lock"))
	if _, err := lock.TryRLockContext(ctx, lockInterval); ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		lock = nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		if lock != nil {
			_ = lock.Close()
		}
		return nil, fmt.Errorf("listen for the embedded registry: %w", err)
	}
	e := &Embedded{
		address: listener.Addr().String(), dir: dir, lock: lock,
		app: handlers.NewApp(context.WithoutCancel(ctx), config),
	}
	e.server = &http.Server{Handler: e.app, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = e.server.Serve(listener) }()
	return e, nil
}

// Address is the registry's host and port on the loopback.
func (e *Embedded) Address() string { return e.address }

// Dial connects to the registry: what the host's pulls are forwarded to.
func (e *Embedded) Dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", e.address)
}

// closeLimit is how long requests under way may take to end.
const closeLimit = time.Second

// Close ends the registry, if possible when requests under way are answered.
// Its blobs stay.
func (e *Embedded) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.server.Close()
	}
	if shutdown := e.app.Shutdown(); err == nil {
		err = shutdown
	}
	if e.lock != nil {
		err = errors.Join(err, e.lock.Close())
	}
	return err
}
