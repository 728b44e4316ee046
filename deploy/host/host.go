// Package host works on the deploy host over SSH: it runs commands, moves
// files, forwards ports and starts jobs that outlive the connection.
//
// A connection can break at any moment, and then it is not known whether a
// command that was under way has run. The package never guesses: such a
// command ends with [ErrOutcomeUnknown], and what must not be left halfway is
// given to the host as a job ([Host.StartDetached]) whose state can be asked
// for over the next connection. Files appear under their name only when all
// of their content has arrived.
//
// The host needs OpenSSH, a POSIX shell as the user's login shell, and what
// every Debian has: coreutils, tar and setsid.
package host

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ssh"
)

// maxSessions is how many commands run at a time over one connection: sshd
// allows 10 by default (MaxSessions), more are refused.
const maxSessions = 8

// Host is a connection to a host. Its methods can be called side by side.
// Close it in the end.
type Host struct {
	address string
	user    string
	log     zerolog.Logger
	client  *ssh.Client
	conn    *watchedConn
	jump    *Host
	// sessions holds one element for every command under way.
	sessions chan struct{}

	done chan struct{}
	mu   sync.Mutex
	lost error
}

// String returns user@name:port.
func (h *Host) String() string { return h.user + "@" + h.address }

// Err returns why the connection ended: nil while it is there, net.ErrClosed
// after Close.
func (h *Host) Err() error {
	select {
	case <-h.done:
	default:
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// Close ends the connection. Commands under way end with ErrOutcomeUnknown;
// detached jobs go on.
func (h *Host) Close() error {
	h.fail(net.ErrClosed)
	<-h.done
	return nil
}

// fail ends the connection for a reason; the first one counts.
func (h *Host) fail(reason error) {
	h.mu.Lock()
	if h.lost == nil {
		h.lost = reason
	}
	h.mu.Unlock()
	h.disconnect()
}

// disconnect closes the stream below. The jump host's goes first: on a broken
// connection to it, closing the one within would wait for an answer.
func (h *Host) disconnect() {
	if h.jump != nil {
		h.jump.fail(net.ErrClosed)
	}
	_ = h.conn.Close()
}

// watch waits for the end of the connection.
func (h *Host) watch() {
	err := h.client.Wait()
	if err == nil {
		err = errors.New("closed by the host")
	}
	h.fail(fmt.Errorf("connection to %s lost: %w", h.address, err))
	h.mu.Lock()
	lost := h.lost
	h.mu.Unlock()
	if !errors.Is(lost, net.ErrClosed) {
		h.log.Warn().Str("host", h.address).Err(lost).Msg("connection lost")
	}
	close(h.done)
}

// keepAlive asks the host for a sign of life whenever it was silent for the
// interval, and ends the connection when none comes within another one. Any
// byte counts, not the answer alone: on a slow line the question waits behind
// megabytes of an upload.
func (h *Host) keepAlive(interval time.Duration) {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	// wait sleeps until the host has been silent for the interval, counted
	// from a moment on. It returns false when the connection has ended or the
	// answer is there.
	wait := func(from time.Time, answer <-chan struct{}) bool {
		for {
			since := from
			if heard := h.conn.lastHeard(); heard.After(since) {
				since = heard
			}
			left := interval - time.Since(since)
			if left <= 0 {
				return true
			}
			timer.Reset(left)
			select {
			case <-timer.C:
			case <-answer:
				return false
			case <-h.done:
				return false
			}
		}
	}
	for {
		if !wait(time.Now(), nil) {
			return
		}
		answer := make(chan struct{})
		go func() {
			defer close(answer)
			// OpenSSH answers this as a request that it does not know, which
			// is answer enough.
			_, _, _ = h.client.SendRequest("keepalive@openssh.com", true, nil)
		}()
		if wait(time.Now(), answer) {
			h.fail(fmt.Errorf("connection to %s lost: the host was asked and said nothing for %s", h.address, interval))
			return
		}
	}
}
