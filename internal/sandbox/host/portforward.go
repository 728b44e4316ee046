package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// locate finds out under which address the host can be reached from here, if
// it can.
func (h *Host) locate(ctx context.Context) error {
	out, err := h.look(ctx, "cat "+disk+"/address")
	if err != nil {
		return fmt.Errorf("find the host's address: %w", err)
	}
	address := strings.TrimSpace(out)
	dialer := net.Dialer{Timeout: 2 * time.Second}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, "22"))
	if err != nil {
		if h.direct.Load() != nil {
			return fmt.Errorf("reach the host at its new address: %w", err)
		}
		h.options.Log.Info().Err(err).Msg("the engine's network can't be reached from here; connections go through its tunnels")
		return nil
	}
	_ = connection.Close()
	h.direct.Store(&address)
	return nil
}

// locateJump does the same for the jump host, which has no disk to tell from.
func (h *Host) locateJump(ctx context.Context) error {
	if h.direct.Load() == nil {
		return nil
	}
	out, err := anew(ctx, h.tools.WithServiceBinding("jump", h.jump), "getent ahostsv4 jump")
	if err != nil {
		return fmt.Errorf("find the jump host's address: %w", err)
	}
	address, _, ok := strings.Cut(out, " ")
	if !ok {
		return fmt.Errorf("find the jump host's address in %q", out)
	}
	h.jumpDirect.Store(&address)
	return nil
}

// portForward is a port of this machine's loopback behind which is one of the host.
type portForward struct {
	listener net.Listener
	target   func() string

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// open forwards a port, 0 for any, to whatever address the target has
// when a connection comes.
func open(ctx context.Context, port int, target func() string) (*portForward, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	f := &portForward{listener: listener, target: target, open: map[net.Conn]struct{}{}}
	go func() {
		for {
			visitor, err := listener.Accept()
			if err != nil {
				return
			}
			go f.lead(visitor)
		}
	}()
	return f, nil
}

func (f *portForward) address() string { return f.listener.Addr().String() }

// dialTime is how long the host has to take a connection. A port to which
// nothing answers must look like one that refuses.
const dialTime = 5 * time.Second

// lead connects a visitor to the host until both have said everything, or
// one of them is gone.
func (f *portForward) lead(visitor net.Conn) {
	host, err := net.DialTimeout("tcp", f.target(), dialTime)
	if err != nil {
		reset(visitor)
		return
	}
	ends := []net.Conn{visitor, host}
	f.mu.Lock()
	for _, end := range ends {
		f.open[end] = struct{}{}
	}
	closed := f.closed
	f.mu.Unlock()
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		if _, err := io.Copy(to, from); err != nil {
			// Cut off on one side is cut off on the other.
			reset(to)
			reset(from)
			return
		}
		if tcp, ok := to.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}
	if !closed {
		both.Go(func() { carry(host, visitor) })
		both.Go(func() { carry(visitor, host) })
		both.Wait()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, end := range ends {
		_ = end.Close()
		delete(f.open, end)
	}
}

// reset ends a connection without a farewell.
func reset(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}

// close ends the forwarding, and every connection through it.
func (f *portForward) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for end := range f.open {
		reset(end)
	}
	if err := f.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
