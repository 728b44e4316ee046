package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// session is a connection through the command `dagger session`, which serves
// the engine's API on the loopback for as long as its input is open.
type session struct {
	http.Client
	end  context.CancelFunc
	wait func() error
}

// Host is only a name: every request goes to the command.
func (s *session) Host() string { return "dagger" }

// Close ends the session, and waits for the command to write everything down.
func (s *session) Close() error {
	s.end()
	return s.wait()
}

// open starts the command and reads from it where it serves.
func (e Endpoint) open(ctx context.Context, progress io.Writer) (*session, error) {
	ctx, end := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, e.CLI, "session", "--label", "dagger.io/sdk.name:go",
		"--label", "dagger.io/sdk.version:"+strings.TrimPrefix(Version, "v"))
	cmd.Env = append(append(os.Environ(), e.Environ()...), progressVariable+"="+progressFormat)
	cmd.Stderr = progress
	stdin, err := cmd.StdinPipe()
	if err != nil {
		end()
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		end()
		return nil, err
	}
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = time.Minute
	if err := cmd.Start(); err != nil {
		end()
		return nil, err
	}
	output := bufio.NewReader(stdout)
	s := &session{end: end, wait: sync.OnceValue(func() error {
		_, _ = io.Copy(io.Discard, output) // until it ends
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("end session: %w", err)
		}
		return nil
	})}
	var served struct {
		Port  int    `json:"port"`
		Token string `json:"session_token"`
	}
	line, err := output.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &served)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start session: %w", err), s.Close())
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(served.Port))
	s.Transport = sessionTransport{token: served.Token, next: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
	}}
	return s, nil
}

// sessionTransport signs requests with the session's token.
type sessionTransport struct {
	token string
	next  http.RoundTripper
}

func (t sessionTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(t.token, "")
	return t.next.RoundTrip(r)
}
