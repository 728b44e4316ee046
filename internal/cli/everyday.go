package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// newEveryday makes the commands that work with the release that is live.
func newEveryday(s *streams, f *flags) []*cobra.Command {
	var reading compose.Reading
	logs := &cobra.Command{
		Use: "logs [SERVICE…]", Short: "what services of the live release log; all of them unless some are named",
		Long: "Prints what services of the live release log, or all of them.\n\nCtrl-C ends --follow with exit code 130.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return s.logs(cmd.Context(), f, reading, args) },
	}
	logs.Flags().BoolVar(&reading.Follow, "follow", false, "go on with what is logged from now on")
	logs.Flags().StringVar(&reading.Tail, "tail", "100", "how many of the last lines of each container, or all")
	logs.Flags().StringVar(&reading.Since, "since", "", "from this time or age on, for instance 2024-03-20T12:00:00Z or 10m")
	return []*cobra.Command{
		{
			Use: "bench -- ARG…", Short: "run a bench command in the live backend; its exit code is this program's",
			Long: "Runs a bench command in the backend of the live release and ends with its exit code.\n\n" +
				"What is piped into this program is the command's input; give it secrets there and not as arguments, which others on the host can see.\n" +
				"Ctrl-C ends this program with exit code 130; the command itself goes on in its container.",
			Example: "  pipeline bench -- --site erp.example.com list-apps",
			Args:    cobra.MinimumNArgs(1),
			RunE:    func(cmd *cobra.Command, args []string) error { return s.bench(cmd.Context(), f, args) },
		},
		logs,
		{
			Use: "shell", Short: "open a shell in the live backend; without a terminal it reads commands from standard input", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return s.shell(cmd.Context(), f) },
		},
	}
}

// exitError is the exit code of a command that was run for its own sake: it is
// the program's own, and the command has said itself what there is to say.
type exitError int

func (e exitError) Error() string { return "exit code " + strconv.Itoa(int(e)) }

// onLive gives the live release to a command that works with it.
func (s *streams) onLive(ctx context.Context, f *flags, use func(h *host.Host, live deploy.Live) error) error {
	return s.onHost(ctx, f, func(h *host.Host, t deploy.Target) error {
		live, err := deploy.FindLive(ctx, h, t)
		var ended *host.RunError
		switch {
		case errors.As(err, &ended) && ctx.Err() == nil:
			return problem.Report{{Code: "host.docker", Subject: "host", Detail: "Docker does not answer: " + ended.Stderr,
				Remedy: "start Docker on the host, and let the user use it", Err: err}}.Err()
		case err != nil:
			return err
		case len(live.Containers) == 0:
			return problem.Report{{Code: "host.nothing-runs", Subject: "project " + t.Project, Detail: "has no containers on the host",
				Remedy: "check COMPOSE_PROJECT_NAME; pipeline deploy VERSION puts a version live"}}.Err()
		}
		return use(h, live)
	})
}

// onBackend gives the container in which bench commands run.
func (s *streams) onBackend(ctx context.Context, f *flags, use func(h *host.Host, backend compose.Container) error) error {
	return s.onLive(ctx, f, func(h *host.Host, live deploy.Live) error {
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
func (s *streams) attached(ctx context.Context, h *host.Host, argv []string, o host.Options) error {
	_, err := h.Run(ctx, argv, o)
	var ended *host.RunError
	if ctx.Err() == nil && errors.As(err, &ended) {
		return exitError(ended.Exit)
	}
	return err
}

// piped is what somebody pipes into the program: nothing from a terminal,
// where a person would not know that something waits for them.
func (s *streams) piped() io.Reader {
	if isTerminal(s.in) {
		return nil
	}
	return s.in
}

func (s *streams) bench(ctx context.Context, f *flags, args []string) error {
	return s.onBackend(ctx, f, func(h *host.Host, backend compose.Container) error {
		err := s.attached(ctx, h, backend.Exec(append([]string{"bench"}, args...)...), host.Options{Stdin: s.piped(), Stdout: s.out, Stderr: s.err})
		if ctx.Err() != nil {
			// Docker passes no signals on to what it executes.
			s.log.Warn().Str("container", backend.Name).Msg("interrupted; if the command had begun, it goes on in its container")
			return exitError(ExitInterrupted)
		}
		return err
	})
}

func (s *streams) logs(ctx context.Context, f *flags, reading compose.Reading, services []string) error {
	if _, err := strconv.ParseUint(reading.Tail, 10, 31); err != nil && reading.Tail != "all" {
		return fmt.Errorf("%w: --tail takes a number of lines or all, not %q", errUsage, reading.Tail)
	}
	return s.onLive(ctx, f, func(h *host.Host, live deploy.Live) error {
		if report := unknownServices(live, services); len(report) > 0 {
			return report.Err()
		}
		err := s.attached(ctx, h, live.Project.Read(reading, services...), host.Options{Stdout: s.out, Stderr: s.err})
		if ctx.Err() != nil {
			return exitError(ExitInterrupted)
		}
		return err
	})
}

// unknownServices reports the services that the project has no container of.
func unknownServices(live deploy.Live, services []string) problem.Report {
	var report problem.Report
	var known []string
	for _, c := range live.Containers {
		if !slices.Contains(known, c.Service) {
			known = append(known, c.Service)
		}
	}
	slices.Sort(known)
	for _, service := range services {
		if slices.Contains(known, service) {
			continue
		}
		remedy := "there are " + strings.Join(known, ", ")
		if near := problem.Nearest(service, known); near != "" {
			remedy = "write " + near + "; " + remedy
		}
		report.Addf("host.service-unknown", "service "+service, remedy, "is not one of project %s", live.Project.Name)
	}
	return report
}

func (s *streams) shell(ctx context.Context, f *flags) error {
	const program = "bash"
	return s.onBackend(ctx, f, func(h *host.Host, backend compose.Container) error {
		keyboard, ok := s.in.(*os.File)
		if !ok || !isTerminal(s.in) || s.screen == nil {
			err := s.attached(ctx, h, backend.Exec(program), host.Options{Stdin: s.piped(), Stdout: s.out, Stderr: s.err})
			if ctx.Err() != nil {
				return exitError(ExitInterrupted)
			}
			return err
		}
		return s.onTerminal(keyboard, func(terminal *host.Terminal) error {
			return s.attached(ctx, h, backend.ExecOnTerminal(terminal.Type, program),
				host.Options{Stdin: keyboard, Stdout: prompt{s.redactOut}, Terminal: terminal})
		})
	})
}

// onTerminal gives the program's own terminal to a command on the host, and
// takes it back as it was.
func (s *streams) onTerminal(keyboard *os.File, use func(*host.Terminal) error) error {
	size := func() host.Size {
		columns, rows, err := term.GetSize(int(s.screen.Fd()))
		if err != nil {
			return host.Size{Columns: 80, Rows: 24}
		}
		return host.Size{Columns: columns, Rows: rows}
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	resized, done := make(chan host.Size), make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-changes:
			case <-done:
				return
			}
			select {
			case resized <- size():
			case <-done:
				return
			}
		}
	}()
	kind := s.getenv("TERM")
	if kind == "" {
		kind = "dumb"
	}
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(keyboard.Fd()), before) }()
	return use(&host.Terminal{Type: kind, Size: size(), Resized: resized})
}

// prompt writes for a person who waits for every letter: nothing that may be
// the beginning of a secret is held back.
type prompt struct{ *secret.Redactor }

func (p prompt) Write(text []byte) (int, error) {
	n, err := p.Redactor.Write(text)
	if err == nil {
		err = p.Flush()
	}
	return n, err
}
