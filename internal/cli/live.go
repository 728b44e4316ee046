package cli

import (
	"context"
	"errors"
	"io"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// onLive hands the live release to a command that works with it.
func (c *cli) onLive(ctx context.Context, global *globalFlags, use func(*host.Host, deploy.Live) error) error {
	return c.onHost(ctx, global, func(h *host.Host, target deploy.Target) error {
		live, err := deploy.FindLive(ctx, h, target)
		var ended *host.RunError
		switch {
		case errors.As(err, &ended) && ctx.Err() == nil:
			return problem.Report{{Code: "host.docker", Subject: "host", Detail: "Docker does not answer: " + ended.Stderr,
				Remedy: "start Docker on the host, and let the user use it", Err: err}}.Err()
		case err != nil:
			return err
		case len(live.Containers) == 0:
			return problem.Report{{Code: "host.nothing-runs", Subject: "project " + target.Project, Detail: "has no containers on the host",
				Remedy: "check COMPOSE_PROJECT_NAME; pipeline deploy VERSION puts a version live"}}.Err()
		}
		return use(h, live)
	})
}

// onBackend hands over the container in which bench commands run.
func (c *cli) onBackend(ctx context.Context, global *globalFlags, use func(*host.Host, compose.Container) error) error {
	return c.onLive(ctx, global, func(h *host.Host, live deploy.Live) error {
		backend, ok := live.Container(bench.Service)
		if !ok {
			return problem.Report{{Code: "host.service-down", Subject: "service " + bench.Service, Detail: "does not run in project " + live.Project.Name,
				Remedy: "pipeline status shows what does, pipeline logs " + bench.Service + " why"}}.Err()
		}
		return use(h, backend)
	})
}

// attached runs a command on the host for its own sake. What it prints comes
// out as it comes in.
func attached(ctx context.Context, h *host.Host, argv []string, o host.Options) error {
	_, err := h.Run(ctx, argv, o)
	var ended *host.RunError
	if ctx.Err() == nil && errors.As(err, &ended) {
		return exitError(ended.Exit)
	}
	return err
}

// piped returns what is piped into the program: nothing from a terminal, where
// the user would not know that something waits for input.
func (c *cli) piped() io.Reader {
	if terminalOf(c.in) != nil {
		return nil
	}
	return c.in
}
