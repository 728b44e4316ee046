package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

const defaultReconnectTimeout = 5 * time.Minute

// connection is the connection to the host during a run, which is made again
// when it is lost, and the way to the registry on it.
type connection struct {
	dial     func(ctx context.Context) (Host, error)
	registry func(ctx context.Context) (net.Conn, error) // may be nil
	observe  func(Event)
	timeout  time.Duration // for making it again

	mu      sync.Mutex
	current Host // nil while there is none
	forward *host.Forward
	// registryAddress is that of the registry on the host, once it had one.
	registryAddress string
}

// get returns the connection that is there; nil for none.
func (c *connection) get() Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// connect makes a connection, and on it the way to the registry.
func (c *connection) connect(ctx context.Context) error {
	h, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = h
	if c.registry == nil {
		return nil
	}
	// The first address is part of the image's name there, so it is asked for
	// again; but it may be taken still by the connection that was lost.
	address := c.registryAddress
	if address == "" {
		address = "127.0.0.1:0"
	}
	forward, err := h.Forward(context.WithoutCancel(ctx), address, c.registry)
	if err != nil {
		if c.registryAddress != "" {
			// Without it a pull fails and is undone, and all else goes on.
			c.observe(Event{Kind: Disconnected, Text: "the registry: " + err.Error()})
			return nil
		}
		return fmt.Errorf("offer the registry to the host: %w", err)
	}
	c.forward = forward
	c.registryAddress = fmt.Sprintf("127.0.0.1:%d", forward.Port())
	return nil
}

// hangUp closes the connection, if there is one.
func (c *connection) hangUp() {
	c.mu.Lock()
	h, forward := c.current, c.forward
	c.current, c.forward = nil, nil
	c.mu.Unlock()
	if forward != nil {
		_ = forward.Close()
	}
	if h != nil {
		_ = h.Close()
	}
}

// do uses the connection, and makes a new one when it is lost, until the time
// for that is over. An answer of the host, good or bad, is the end of it. Time
// counts anew when a connection was lost that had held for a while: one that
// ends as soon as it is made is none.
func (c *connection) do(ctx context.Context, use func(Host) error) error {
	const shortest, longest = time.Second, 15 * time.Second
	lost, away, pause := time.Time{}, false, shortest
	for {
		var err error
		if c.get() == nil {
			err = c.connect(ctx)
			if err == nil && away {
				away = false
				c.observe(Event{Kind: Reconnected})
			}
		}
		if err == nil {
			had := time.Now()
			err = use(c.get())
			var answer *host.RunError
			if err == nil || errors.As(err, &answer) {
				return err
			}
			c.hangUp()
			if time.Since(had) > shortest {
				lost, pause = time.Time{}, shortest
			}
		}
		if ctx.Err() != nil {
			return err
		}
		if !away {
			away = true
			c.observe(Event{Kind: Disconnected, Text: err.Error()})
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > c.timeout {
			return fmt.Errorf("no connection for %s: %w", c.timeout, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, longest)
	}
}
