package host

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// portForward is a port of this machine's loopback that is forwarded to one of
// the host.
type portForward struct {
	listener net.Listener
	target   func() string

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// forward forwards a port, 0 for any, to whatever address the target has when a
// connection comes.
func forward(ctx context.Context, port int, target func() string) (*portForward, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	f := &portForward{listener: listener, target: target, open: map[net.Conn]struct{}{}}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go f.connect(client)
		}
	}()
	return f, nil
}

func (f *portForward) address() string { return f.listener.Addr().String() }

// dialTime is how long the host has to take a connection. A port to which
// nothing answers must look like one that refuses.
const dialTime = 5 * time.Second

// connect connects a client to the host until both have sent everything, or one
// of them is gone.
func (f *portForward) connect(client net.Conn) {
	host, err := net.DialTimeout("tcp", f.target(), dialTime)
	if err != nil {
		reset(client)
		return
	}
	ends := []net.Conn{client, host}
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
		both.Go(func() { carry(host, client) })
		both.Go(func() { carry(client, host) })
		both.Wait()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, end := range ends {
		_ = end.Close()
		delete(f.open, end)
	}
}

// reset ends a connection by a TCP reset.
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
