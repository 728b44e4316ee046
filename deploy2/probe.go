package deploy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// probeInterval is how often a probe asks: downtime is known to about this.
const probeInterval = 200 * time.Millisecond

// ask sends one request for a sign of life to a port of the host's loopback,
// through the SSH connection, and gives the status code.
func ask(ctx context.Context, h *host.Host, port int, site string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return h.DialHost(ctx, network, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+site+bench.PingPath, nil)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", site, err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("ask %s: %w", site, err)
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// fromOutside asks a site on its published port until it answers, for up to
// verifyLimit.
func fromOutside(ctx context.Context, h *host.Host, port int, site string) error {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	for {
		code, err := ask(ctx, h, port, site)
		if code == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("%s answers %d on port %d of the host", site, code, port)
			}
			return err
		case <-time.After(probeInterval):
		}
	}
}

// probe measures downtime from outside, over a connection of its own.
type probe struct {
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
	down   time.Duration
}

// startProbe begins to ask. A first release has nobody to ask.
func startProbe(dial Dial, p Plan, log zerolog.Logger) *probe {
	ctx, cancel := context.WithCancel(context.Background())
	pr := &probe{cancel: cancel, done: make(chan struct{})}
	if p.State.Current == nil || len(p.Target.Sites) == 0 {
		close(pr.done)
		return pr
	}
	go func() {
		defer close(pr.done)
		pr.watch(ctx, dial, p, log)
	}()
	return pr
}

func (pr *probe) watch(ctx context.Context, dial Dial, p Plan, log zerolog.Logger) {
	h, err := dial(ctx)
	if err != nil {
		log.Warn().Err(err).Msg("downtime is not measured")
		return
	}
	defer func() { _ = h.Close() }()
	var first, last time.Time
	for ctx.Err() == nil {
		asked := time.Now()
		code, _ := ask(ctx, h, p.Target.HTTPPort, p.Target.Sites[0])
		switch {
		case ctx.Err() != nil:
		case code == http.StatusOK:
			if !first.IsZero() && last.IsZero() {
				last = time.Now()
			}
		default:
			if first.IsZero() {
				first = asked
			}
			// What came back and went again was not over.
			last = time.Time{}
			if h.Err() != nil {
				if again, err := dial(ctx); err == nil {
					_ = h.Close()
					h = again
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(probeInterval):
		}
	}
	if !first.IsZero() && !last.IsZero() {
		pr.down = last.Sub(first)
	}
}

// stop ends the probe and gives the time from the first refused request to the
// first good one.
func (pr *probe) stop() time.Duration {
	pr.once.Do(func() {
		// The last answer has to be a good one.
		select {
		case <-pr.done:
		case <-time.After(2 * probeInterval):
		}
		pr.cancel()
		<-pr.done
	})
	return pr.down
}
