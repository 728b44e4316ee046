package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// order is everything that a client needs to know to release or to go back: it
// is given to another process.
type order struct {
	// Address is where SSH answers.
	Address    string
	Key        string
	KnownHosts string
	Target     deploy.Target
	// Secrets and Hooks are those of the target, which do not print there.
	Secrets map[string]string
	Hooks   []deploy.Hook
	Lock    release.Lock
	Image   release.Image
	// BackTo is the version that a rollback goes back to; empty for a release.
	BackTo      string
	RestoreData bool
}

// dial connects as impatiently as a test has to be.
func (o order) dial(ctx context.Context) (*host.Host, error) {
	return host.Dial(ctx, host.Config{
		Address: o.Address, User: sandboxhost.User,
		Keys:             []host.Key{{PEM: secret.New(o.Key), Name: "key of the test"}},
		KnownHosts:       []host.KnownHosts{{Text: o.KnownHosts, Name: "host keys of the test"}},
		HandshakeTimeout: 5 * time.Second, KeepAlive: time.Second,
	})
}

// through is the same order for a client that reaches the host at another
// address.
func (o order) through(address string) order {
	o.KnownHosts = strings.Replace(o.KnownHosts, knownhosts.Normalize(o.Address), knownhosts.Normalize(address), 1)
	o.Address = address
	return o
}

func (o order) target() deploy.Target {
	t := o.Target
	t.Hooks = o.Hooks
	t.Secrets = map[string]secret.Secret{}
	for name, value := range o.Secrets {
		t.Secrets[name] = secret.New(value)
	}
	return t
}

// plan returns what the order comes to on a host in a state.
func (o order) plan(ctx context.Context, state deploy.State) (deploy.Plan, problem.Report) {
	if o.BackTo != "" {
		return deploy.PlanRollback(state, o.target(), o.BackTo, o.RestoreData)
	}
	return deploy.MakePlan(ctx, state, o.target(), o.Lock)
}

// carryOut does what the command does with an image that is pushed.
func (o order) carryOut(ctx context.Context, observe func(deploy.Event)) (release.Record, error) {
	connection, err := o.dial(ctx)
	if err != nil {
		return release.Record{}, err
	}
	state, err := deploy.Inspect(ctx, connection, o.target())
	_ = connection.Close()
	if err != nil {
		return release.Record{}, err
	}
	plan, report := o.plan(ctx, state)
	if err := report.Err(); err != nil {
		return release.Record{}, err
	}
	deployer := deploy.Deployer{Dial: func(ctx context.Context) (deploy.Host, error) { return o.dial(ctx) }, Observe: observe}
	return deployer.Run(ctx, plan, o.Image)
}

// A client is a process of its own, that can be killed: this program again.
const clientVariable = "FAULTS_TEST_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientVariable) != "" {
		if err := clientProcess(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// report is what a client says: that it lost the host, that it has it back, and
// how the run ended.
type report struct {
	Kind deploy.EventKind
	// Record is set in the end, and where the release did not go live State or
	// else Error.
	Record release.Record
	State  deploy.HostState
	Error  string
}

// ended is the kind of the last report.
const ended deploy.EventKind = "ended"

// clientProcess carries out the order that it reads.
func clientProcess(input io.Reader, output io.Writer) error {
	var o order
	if err := json.NewDecoder(input).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	out := json.NewEncoder(output)
	record, err := o.carryOut(context.Background(), func(e deploy.Event) {
		if e.Kind == deploy.Disconnected || e.Kind == deploy.Reconnected {
			_ = out.Encode(report{Kind: e.Kind})
		}
	})
	last := report{Kind: ended, Record: record}
	var failed *deploy.FailedError
	if errors.As(err, &failed) {
		last.State = failed.State
	}
	if err != nil {
		last.Error = err.Error()
	}
	return out.Encode(last)
}

// client is a run under way, as its client sees it.
type client struct {
	process *exec.Cmd
	// ended is closed when the process is gone; then last is what it reported
	// in the end, or killed is set.
	ended  chan struct{}
	last   report
	killed bool

	mu sync.Mutex
	// away says that it has lost the host, lost how often it has.
	away bool
	lost int
}

// start has the order carried out by a process of its own.
func (o order) start(ctx context.Context) (*client, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write order: %w", err)
	}
	c := &client{process: exec.CommandContext(ctx, os.Args[0]), ended: make(chan struct{})}
	c.process.Env = append(os.Environ(), clientVariable+"=1")
	c.process.Stdin = bytes.NewReader(text)
	var said bytes.Buffer
	c.process.Stderr = &said
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start client: %w", err)
	}
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("start client: %w", err)
	}
	go func() {
		defer close(c.ended)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			var r report
			if err != nil || json.Unmarshal(line, &r) != nil {
				break
			}
			c.take(r)
		}
		err := c.process.Wait()
		var exit *exec.ExitError
		c.killed = errors.As(err, &exit) && !exit.Exited()
		if c.last.Kind != ended {
			c.last.Error = fmt.Sprintf("%v: %s", err, said.String())
		}
	}()
	return c, nil
}

func (c *client) take(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Kind {
	case deploy.Disconnected:
		c.away = true
		c.lost++
	case deploy.Reconnected:
		c.away = false
	default:
		c.last = r
	}
}

// until waits until the client has the host or has lost it, as often as is asked
// for.
func (c *client) until(ctx context.Context, what string, met func(away bool, lost int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		c.mu.Lock()
		ok := met(c.away, c.lost)
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-look.C:
		case <-c.ended:
			return fmt.Errorf("the client has come to its end before it %s: %s", what, c.last.Error)
		case <-ctx.Done():
			return fmt.Errorf("the client has not %s: %w", what, context.Cause(ctx))
		}
	}
}
