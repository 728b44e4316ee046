// Package engine connects to the Dagger engine that builds run on: one that is
// named, or the one that the SDK starts through Docker.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"dagger.io/dagger"
)

// Version is the version of the engine and its command. It has to be that of
// the SDK in go.mod: they speak a protocol of their own.
const Version = "v0.19.10"

// The variables by which Dagger's SDK and command learn of an engine that they
// have not started.
const (
	RunnerHostVariable = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
	CLIVariable        = "_EXPERIMENTAL_DAGGER_CLI_BIN"
)

// The format of a session's progress, which ci/progress reads. Of all formats
// only this one has every line at once: "plain" keeps a command's lines back for
// as long as another one goes on printing.
const (
	progressVariable = "DAGGER_PROGRESS"
	progressFormat   = "dots"
)

// Endpoint is how to reach an engine.
type Endpoint struct {
	// RunnerHost is the engine's address, for instance unix:///path. Where it is
	// empty, one is started through Docker.
	RunnerHost string `json:"runner_host"`
	// CLI is the path of Dagger's command, of the engine's version. Where
	// it is empty, the SDK looks for one.
	CLI string `json:"cli"`
}

// Environ returns the variables from which Dagger's SDK and command learn of the
// engine.
func (e Endpoint) Environ() []string {
	env := []string{"DO_NOT_TRACK=1", "DAGGER_NO_NAG=1"}
	if e.RunnerHost != "" {
		env = append(env, RunnerHostVariable+"="+e.RunnerHost)
	}
	if e.CLI != "" {
		env = append(env, CLIVariable+"="+e.CLI)
	}
	return env
}

// Connect opens a session with the engine. The session's progress goes to the
// writer; nil is nowhere. The session ends with the client's Close or with the
// context.
func (e Endpoint) Connect(ctx context.Context, progress io.Writer) (*dagger.Client, error) {
	client, err := e.connect(ctx, progress)
	switch {
	case err == nil:
		return client, nil
	case e.RunnerHost != "":
		return nil, fmt.Errorf("connect to engine %s: %w", e.RunnerHost, err)
	default:
		return nil, fmt.Errorf("connect to a Dagger engine (start Docker, or name an engine in DAGGER_RUNNER_HOST): %w", err)
	}
}

// connect lets the SDK look for the command, or runs the one that is named: the SDK
// would learn of it by this process's environment only.
func (e Endpoint) connect(ctx context.Context, progress io.Writer) (*dagger.Client, error) {
	if e.CLI == "" {
		options := []dagger.ClientOpt{dagger.WithLogOutput(progress), dagger.WithEnvironmentVariable(progressVariable, progressFormat)}
		if e.RunnerHost != "" {
			options = append(options, dagger.WithRunnerHost(e.RunnerHost))
		}
		return dagger.Connect(ctx, options...)
	}
	s, err := e.open(ctx, progress)
	if err != nil {
		return nil, err
	}
	client, err := dagger.Connect(ctx, dagger.WithConn(s))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return client, nil
}
