// Package engine finds the Dagger engine that builds run on, and connects to it:
// the one that the environment names, or the one that the SDK starts through
// Docker.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// The format of a session's progress, which ci/progress reads. Of all formats
// only this one has every line at once: "plain" keeps a command's lines back for
// as long as another one goes on printing.
const (
	progressVariable = "DAGGER_PROGRESS"
	progressFormat   = "dots"
)

// Connect opens a session with the engine that the environment, in the form of
// os.Environ, names, else with the one that the SDK starts through Docker. The
// session's progress goes to the writer; nil is nowhere. The session ends with
// the client's Close or with the context.
func Connect(ctx context.Context, environ []string, progress io.Writer) (*dagger.Client, error) {
	if endpoint, named := fromEnvironment(environ); named {
		return endpoint.Connect(ctx, progress)
	}
	client, err := dagger.Connect(ctx, dagger.WithLogOutput(progress), dagger.WithEnvironmentVariable(progressVariable, progressFormat))
	if err != nil {
		return nil, fmt.Errorf("connect to a Dagger engine (start Docker, or name an engine in %s): %w", runnerHostVariable, err)
	}
	return client, nil
}

// Endpoint is how to reach an engine.
type Endpoint struct {
	// RunnerHost is the engine's address, for instance unix:///path.
	RunnerHost string `json:"runner_host"`
	// CLI is the path of Dagger's command, of the engine's version. Where
	// it is empty, the SDK looks for one.
	CLI string `json:"cli"`
}

// fromEnvironment returns the engine that the environment names, if it does.
func fromEnvironment(environ []string) (Endpoint, bool) {
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

// Environ returns the variables from which a process learns of the engine.
func (e Endpoint) Environ() []string {
	env := []string{runnerHostVariable + "=" + e.RunnerHost, "DO_NOT_TRACK=1", "DAGGER_NO_NAG=1"}
	if e.CLI != "" {
		env = append(env, cliVariable+"="+e.CLI)
	}
	return env
}

// Connect opens a session with the engine, as the function [Connect] does.
//
// The SDK would learn of the command by this process's environment only; this
// runs it without changing that.
func (e Endpoint) Connect(ctx context.Context, progress io.Writer) (*dagger.Client, error) {
	if e.CLI == "" {
		client, err := dagger.Connect(ctx, dagger.WithRunnerHost(e.RunnerHost), dagger.WithLogOutput(progress),
			dagger.WithEnvironmentVariable(progressVariable, progressFormat))
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
