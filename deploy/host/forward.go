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

	"golang.org/x/crypto/ssh"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// DialHost connects to an address as seen from the host, for instance to its
// loopback. The connection knows no deadlines; close it to end it.
func (h *Host) DialHost(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := h.client.DialContext(ctx, network, address)
	if err == nil {
		return conn, nil
	}
	var refused *ssh.OpenChannelError
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &refused) && refused.Reason == ssh.Prohibited:
		err = fmt.Errorf("its sshd does not allow it (AllowTcpForwarding, PermitOpen): %w", err)
	case !errors.As(err, &refused):
		err = h.reason(err)
	}
	return nil, fmt.Errorf("connect from %s to %s: %w", h.address, address, err)
}

// Forward is an address on the host whose connections are served here.
type Forward struct {
	host     *Host
	listener net.Listener
	cancel   context.CancelFunc
	done     chan struct{}
}

// Forward listens on an address of the host, "127.0.0.1:5150", or port 0 for
// any free one, and connects each connection there to one that dial makes
// here. It serves until it is closed, the context is done, or the connection
// ends.
//
// Where the host refuses, or listens on more than the loopback address that
// was asked for, the error is a problem with its remedy. After a connection
// that went silent, sshd can hold its ports for hours, so a caller that can
// choose does better with port 0.
func (h *Host) Forward(ctx context.Context, address string, dial func(ctx context.Context) (net.Conn, error)) (*Forward, error) {
	name, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", address, err)
	}
	type answer struct {
		listener net.Listener
		err      error
	}
	answered := make(chan answer, 1)
	go func() {
		listener, err := h.client.Listen("tcp", address)
		answered <- answer{listener, err}
	}()
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		go func() {
			if late := <-answered; late.listener != nil {
				_ = late.listener.Close()
			}
		}()
		return nil, fmt.Errorf("forward %s: %w", address, context.Cause(ctx))
	}
	if a.err != nil {
		return nil, h.forwardRefused(ctx, address, portText, a.err)
	}
	serving, cancel := context.WithCancel(ctx)
	f := &Forward{host: h, listener: a.listener, cancel: cancel, done: make(chan struct{})}
	if err := h.checkExposure(ctx, name, f.Port()); err != nil {
		cancel()
		_ = closeListener(h, a.listener)
		return nil, err
	}
	go f.serve(serving, dial)
	return f, nil
}

// Port returns the port on the host.
func (f *Forward) Port() int {
	if tcp, ok := f.listener.Addr().(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// Close stops listening on the host and ends the connections under way.
func (f *Forward) Close() error {
	f.cancel()
	<-f.done
	return nil
}

func (f *Forward) serve(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) {
	var connections sync.WaitGroup
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			remote, err := f.listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer remote.Close()
				local, err := dial(ctx)
				if err != nil {
					f.host.log.Warn().Err(err).Str("forward", f.listener.Addr().String()).Msg("nothing here to forward to")
					return
				}
				defer local.Close()
				join(ctx, remote, local)
			})
		}
	}()
	select {
	case <-ctx.Done():
	case <-f.host.done:
	}
	f.cancel()
	if err := closeListener(f.host, f.listener); err != nil && f.host.Err() == nil {
		f.host.log.Debug().Err(err).Str("forward", f.listener.Addr().String()).Msg("forward not ended cleanly")
	}
	<-accepting
	connections.Wait()
	close(f.done)
}

// closeListener asks the host to stop listening. On a dead connection there is
// no answer until the connection is given up.
func closeListener(h *Host, l net.Listener) error {
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	select {
	case err := <-closed:
		return err
	case <-h.done:
		return h.Err()
	}
}

// join copies both ways until both have ended. An end of one direction is
// passed on alone: HTTP clients may close theirs before the answer.
func join(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() {
		_ = a.Close()
		_ = b.Close()
	})
	defer stop()
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		half, ok := to.(interface{ CloseWrite() error })
		if err != nil || !ok || half.CloseWrite() != nil {
			_ = to.Close()
			_ = from.Close()
		}
	}
	both.Go(func() { one(a, b) })
	both.Go(func() { one(b, a) })
	both.Wait()
}

// forwardRefused returns why sshd would not listen: it gives no reason.
func (h *Host) forwardRefused(ctx context.Context, address, port string, err error) error {
	if h.Err() != nil || ctx.Err() != nil {
		return fmt.Errorf("forward %s: %w", address, h.reason(err))
	}
	p := problem.Problem{Code: "host.forward-refused", Subject: h.address, Err: err,
		Detail: fmt.Sprintf("its sshd does not listen on %s for this connection", address),
		Remedy: "set AllowTcpForwarding yes (or remote) and a fitting PermitListen in sshd_config on the host, and reload sshd"}
	number, _ := strconv.Atoi(port)
	if listening, err := h.listeners(ctx, number); err == nil && len(listening) > 0 {
		p.Code = "host.forward-busy"
		p.Detail = fmt.Sprintf("port %d is taken on the host", number)
		p.Remedy = fmt.Sprintf("see who has it (ss -ltnp 'sport = :%d'); an sshd of a broken connection can be ended, otherwise take another port", number)
	}
	return p
}

// checkExposure makes sure that a forward on a loopback address can't be
// reached from elsewhere: with GatewayPorts yes, sshd listens on every
// address, whatever was asked for. A host that does not tell is trusted.
func (h *Host) checkExposure(ctx context.Context, name string, port int) error {
	if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil
	}
	listening, err := h.listeners(ctx, port)
	if err != nil {
		h.log.Debug().Err(err).Msg("host does not tell where it listens")
		return nil
	}
	for _, address := range listening {
		if !loopback(address) {
			return problem.Problem{Code: "host.forward-exposed", Subject: h.address,
				Detail: fmt.Sprintf("its sshd listens on every network for port %d, though %s was asked for", port, name),
				Remedy: "set GatewayPorts no (or clientspecified) in sshd_config on the host, and reload sshd"}
		}
	}
	return nil
}

// listeners returns the addresses that something listens on at a TCP port, in
// the kernel's notation (proc_pid_net(5)): hexadecimal, IPv4 in host order.
func (h *Host) listeners(ctx context.Context, port int) ([]string, error) {
	result, err := h.Run(ctx, []string{"sh", "-c", "cat /proc/net/tcp; cat /proc/net/tcp6 2>/dev/null || :"}, Options{})
	if err != nil {
		return nil, err
	}
	var addresses []string
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(result.Stdout) {
		fields := strings.Fields(line)
		const listen = "0A"
		if len(fields) > 3 && fields[3] == listen && strings.HasSuffix(fields[1], suffix) {
			addresses = append(addresses, strings.TrimSuffix(fields[1], suffix))
		}
	}
	return addresses, nil
}

// loopback reports whether an address is a loopback one, in the kernel's notation on a little-endian host.
func loopback(address string) bool {
	const v6, v4in6 = "00000000000000000000000001000000", "0000000000000000FFFF0000"
	return address == v6 || strings.HasSuffix(strings.TrimPrefix(address, v4in6), "7F") && len(strings.TrimPrefix(address, v4in6)) == 8
}
