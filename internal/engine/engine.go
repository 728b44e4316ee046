// Package engine finds the Dagger engine that builds run on, and connects to it:
// the one that the environment names, or the one that the SDK starts through
// Docker.
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

	"dagger.io/dagger"
)

// Version is the version of the engine and its command. It has to be that of
// the SDK in go.mod: they speak a protocol of their own.
const Version = "v0.19.10"

// The variables by which Dagger's SDK and command learn of an engine that they
// have not started.
const (
	runnerHostVariable = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
	cliVariable        = "_EXPERIMENTAL_DAGGER_CLI_BIN"
)

// progressFormat has the command print what commands print as it comes, a line
// each: its default keeps one command's lines back while another's come.
const progressFormat = "DAGGER_PROGRESS=dots"

// Endpoint is how to reach an engine.
type Endpoint struct {
	// RunnerHost is the engine's address, for instance unix:///path.
	RunnerHost string `json:"runner_host"`
	// CLI is the path of Dagger's command, of the engine's version. Where
	// it is empty, the SDK looks for one.
	CLI string `json:"cli"`
}

// FromEnvironment gives the engine that the environment, as from os.Environ,
// names, if it does.
func FromEnvironment(environ []string) (Endpoint, bool) {
	var e Endpoint
	for _, variable := range environ {
		switch name, value, _ := strings.Cut(variable, "="); name {
		case runnerHostVariable:
			e.RunnerHost = value
		case cliVariable:
			e.CLI = value
		}
	}
	return e, e.RunnerHost != ""
}

// Environ gives the variables that lead a process to the engine.
func (e Endpoint) Environ() []string {
	env := []string{runnerHostVariable + "=" + e.RunnerHost, "DO_NOT_TRACK=1", "DAGGER_NO_NAG=1"}
	if e.CLI != "" {
		env = append(env, cliVariable+"="+e.CLI)
	}
	return env
}

// Connect opens a session with the engine. Its progress goes to the writer.
// The session ends with the client's Close or with the context.
//
// The SDK would learn of the command by this process's environment only; this
// runs it without changing that.
func (e Endpoint) Connect(ctx context.Context, progress io.Writer) (*dagger.Client, error) {
	if progress == nil {
		progress = io.Discard
	}
	if e.CLI == "" {
		client, err := dagger.Connect(ctx, dagger.WithRunnerHost(e.RunnerHost), dagger.WithLogOutput(progress))
		if err != nil {
			return nil, fmt.Errorf("connect to engine %s: %w", e.RunnerHost, err)
		}
		return client, nil
	}
	s, err := e.open(ctx, progress)
	if err != nil {
		return nil, fmt.Errorf("connect to engine %s: %w", e.RunnerHost, err)
	}
	client, err := dagger.Connect(ctx, dagger.WithConn(s))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to engine %s: %w", e.RunnerHost, err), s.Close())
	}
	return client, nil
}

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
	cmd.Env = append(append(os.Environ(), e.Environ()...), progressFormat)
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
