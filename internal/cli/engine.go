package cli

import (
	"context"
	"fmt"
	"io"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/engine"
)

// connect opens a connection to the engine: the one that the environment names,
// or the one that the SDK starts through Docker. What it prints of the build
// goes to lines.
func (c *cli) connect(ctx context.Context, lines io.Writer) (*dagger.Client, error) {
	if c.verbose {
		lines = io.MultiWriter(c.err, lines)
	}
	if endpoint, named := engine.FromEnvironment(c.environ); named {
		return endpoint.Connect(ctx, lines)
	}
	client, err := dagger.Connect(ctx, dagger.WithLogOutput(lines), dagger.WithEnvironmentVariable(progress.Variable, progress.Format))
	if err != nil {
		return nil, fmt.Errorf("connect to a Dagger engine (start Docker, or name an engine in _EXPERIMENTAL_DAGGER_RUNNER_HOST): %w", err)
	}
	return client, nil
}
