// Package faults holds what makes things fail between the parts of the
// sandbox, and the matrix that has every fault happen at every step of a
// release (TestMatrix).
package faults

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Proxy is a network between a client and a server that can fail. The server
// only ever sees connections that came through.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	hole   bool
	closed bool
	lines  map[*line]struct{}
}

// line is a connection through the proxy.
type line struct {
	client net.Conn
	// server is nil for one that was made into a black hole.
	server net.Conn
	// lost says that nothing gets through any more, in either direction.
	lost bool
}

// Listen makes a network to the server at an address. The caller closes it.
func Listen(ctx context.Context, target string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", target, err)
	}
	p := &Proxy{listener: listener, target: target, lines: map[*line]struct{}{}}
	go p.accept()
	return p, nil
}

// Address is what the client connects to, "127.0.0.1:port".
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Reset ends every connection there is, on both sides, by a TCP reset.
// New ones get through.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(func(*line) bool { return true })
}

// BlackHole drops what is sent from now on, in both directions, without a sign
// of it: connections stay open, new ones are accepted.
func (p *Proxy) BlackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = true
	for l := range p.lines {
		l.lost = true
	}
}

// Heal lets new connections through again. Those that fell into the hole are
// reset, as by a router that has forgotten them.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = false
	p.end(func(l *line) bool { return l.lost })
}

// Close ends everything.
func (p *Proxy) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.end(func(*line) bool { return true })
	return p.listener.Close()
}

// end resets some of the connections.
func (p *Proxy) end(which func(*line) bool) {
	for l := range p.lines {
		if which(l) {
			l.reset()
			delete(p.lines, l)
		}
	}
}

func (l *line) reset() {
	for _, side := range []net.Conn{l.client, l.server} {
		if side == nil {
			continue
		}
		if tcp, ok := side.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = side.Close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(client)
	}
}

func (p *Proxy) connect(client net.Conn) {
	l := &line{client: client}
	p.mu.Lock()
	l.lost = p.hole
	p.mu.Unlock()
	if !l.lost {
		var err error
		if l.server, err = net.Dial("tcp", p.target); err != nil {
			// The nearest that a proxy has to a refusal.
			l.reset()
			return
		}
	}
	p.mu.Lock()
	l.lost = l.lost || p.hole
	if p.closed {
		l.reset()
	}
	p.lines[l] = struct{}{}
	p.mu.Unlock()
	if l.server == nil {
		p.carry(l, client, nil)
		return
	}
	go p.carry(l, l.server, client)
	p.carry(l, client, l.server)
}

// carry copies from one side to the other until either ends. A side of a lost
// line may end, but the other one does not learn of it.
func (p *Proxy) carry(l *line, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		lost := l.lost
		if err != nil && !lost {
			delete(p.lines, l)
		}
		p.mu.Unlock()
		if lost {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil && err == nil {
				err = failed
			}
		}
		if err != nil {
			_ = from.Close()
			_ = to.Close()
			return
		}
	}
}
