package faults_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/faults"
)

// echo answers each line with the same.
func echo(t *testing.T) (address string, ended <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	ends := make(chan error, 10)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, err := io.Copy(connection, connection)
				_ = connection.Close()
				ends <- err
			}()
		}
	}()
	return listener.Addr().String(), ends
}

// says sends a line and returns what comes back within a moment.
func says(connection net.Conn, line string, moment time.Duration) (string, error) {
	if _, err := fmt.Fprintln(connection, line); err != nil {
		return "", err
	}
	if err := connection.SetReadDeadline(time.Now().Add(moment)); err != nil {
		return "", err
	}
	return bufio.NewReader(connection).ReadString('\n')
}

func TestProxy(t *testing.T) {
	address, ended := echo(t)
	network, err := faults.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	dial := func() net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", network.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		return connection
	}
	const soon, never = 5 * time.Second, 100 * time.Millisecond
	through := func(connection net.Conn) {
		t.Helper()
		if got, err := says(connection, "hello", soon); got != "hello\n" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	silent := func(connection net.Conn) {
		t.Helper()
		if got, err := says(connection, "hello", never); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %q, %v, want silence", got, err)
		}
	}
	serverEnds := func() {
		t.Helper()
		select {
		case <-ended:
		case <-time.After(soon):
			t.Fatal("the server's side goes on")
		}
	}

	first := dial()
	through(first)
	network.Reset()
	if _, err := says(first, "hello", soon); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want a reset", err)
	}
	serverEnds()

	before := dial()
	through(before)
	network.BlackHole()
	silent(before)
	during := dial()
	silent(during)
	_ = during.Close()
	select {
	case err := <-ended:
		t.Fatalf("the server heard of an end out of the hole: %v", err)
	case <-time.After(never):
	}
	network.Heal()
	if _, err := says(before, "hello", soon); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want a reset", err)
	}
	serverEnds()
	after := dial()
	through(after)
	_ = after.Close()
	serverEnds()
}
