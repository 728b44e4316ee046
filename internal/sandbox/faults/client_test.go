package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	sandboxhost "github.com/desiredeffect/erpnext-pipeline/internal/sandbox/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// order is everything that a client needs to know to release: it can be given
// to another process.
type order struct {
	// Address is where SSH answers.
	Address    string
	Key        string
	KnownHosts string
	Target     deploy.Target
	// Secrets are those of the target, which do not print there.
	Secrets map[string]string
	Lock    release.Lock
	Image   release.Image
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

func (o order) target() deploy.Target {
	t := o.Target
	t.Secrets = map[string]secret.Secret{}
	for name, value := range o.Secrets {
		t.Secrets[name] = secret.New(value)
	}
	return t
}

// release does what the command does with an image that is pushed.
func (o order) release(ctx context.Context, observe func(deploy.Event)) (release.Record, error) {
	connection, err := o.dial(ctx)
	if err != nil {
		return release.Record{}, err
	}
	state, err := deploy.Inspect(ctx, connection, o.target())
	_ = connection.Close()
	if err != nil {
		return release.Record{}, err
	}
	plan, report := deploy.MakePlan(ctx, state, o.target(), o.Lock)
	if err := report.Err(); err != nil {
		return release.Record{}, err
	}
	deployer := deploy.Deployer{Dial: func(ctx context.Context) (deploy.Host, error) { return o.dial(ctx) }, Observe: observe}
	return deployer.Run(ctx, plan, o.Image)
}

// A client that is to be killed is a process of its own: this program again.
const clientVariable = "FAULTS_TEST_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientVariable) != "" {
		if err := clientProcess(os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// clientProcess carries out the order that it reads.
func clientProcess(input io.Reader) error {
	var o order
	if err := json.NewDecoder(input).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	_, err := o.release(context.Background(), nil)
	return err
}

// client is a release under way, as its client sees it.
type client struct {
	// process is set where the client is one of its own.
	process *exec.Cmd
	// disconnected is closed when the client notices that it lost the host.
	disconnected chan struct{}
	// report has what the client reported in the end; one that was killed has
	// reported nothing.
	report chan report
}

type report struct {
	killed bool
	record release.Record
	err    error
}

// start has the order carried out here.
func (o order) start(ctx context.Context) *client {
	c := &client{disconnected: make(chan struct{}), report: make(chan report, 1)}
	go func() {
		lost := false
		record, err := o.release(ctx, func(e deploy.Event) {
			if e.Kind == deploy.Disconnected && !lost {
				lost = true
				close(c.disconnected)
			}
		})
		c.report <- report{record: record, err: err}
	}()
	return c
}

// startProcess has the order carried out by a process of its own.
func (o order) startProcess(ctx context.Context) (*client, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write order: %w", err)
	}
	c := &client{process: exec.CommandContext(ctx, os.Args[0]), report: make(chan report, 1)}
	c.process.Env = append(os.Environ(), clientVariable+"=1")
	c.process.Stdin = bytes.NewReader(text)
	var said bytes.Buffer
	c.process.Stderr = &said
	if err := c.process.Start(); err != nil {
		return nil, fmt.Errorf("start client: %w", err)
	}
	go func() {
		err := c.process.Wait()
		var ended *exec.ExitError
		killed := errors.As(err, &ended) && !ended.Exited()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, said.String())
		}
		c.report <- report{killed: killed, err: err}
	}()
	return c, nil
}
