package image

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dagger.io/dagger"
)

// layer is a stage of the graph: a container before and after its commands.
type layer struct {
	name, detail string
	// before is the container that the commands started from; nil for a
	// stage that is no layer of its own.
	before, made *dagger.Container
}

// diff is what the stage adds to the file system. Merged at / it becomes a
// layer of its own without being copied.
func (l layer) diff() *dagger.Directory {
	if l.made == l.before {
		// Nothing was done: an empty directory merges to nothing.
		return l.before.Rootfs().Diff(l.before.Rootfs())
	}
	return l.before.Rootfs().Diff(l.made.Rootfs())
}

// stamp is the last command of every script. What an exec printed is kept
// with its result, so the time tells whether the exec ran in this build.
const stamp = "\ndate +%s.%N\n"

// script adds a shell script as one exec, in a login-free POSIX shell that
// stops at the first failure.
func script(c *dagger.Container, text string) *dagger.Container {
	return c.WithExec([]string{"sh", "-euc", text + stamp})
}

// run evaluates a stage and tells the observer.
func (b *Builder) run(ctx context.Context, l layer) error {
	if l.made == l.before {
		return nil
	}
	start := time.Now()
	printed, err := l.made.Stdout(ctx)
	if err != nil {
		return fmt.Errorf("build %s: %w", strings.TrimSpace(l.name+" "+l.detail), withOutput(err))
	}
	b.observe(Stage{
		Name: l.name, Detail: l.detail,
		Seconds: time.Since(start).Seconds(),
		Cached:  printedBefore(printed, start),
	})
	return nil
}

func (b *Builder) observe(s Stage) {
	if b.Observe != nil {
		b.Observe(s)
	}
}

// printedBefore says whether the stamp at the end of an output is older than
// a moment. The engine's clock may run a little differently; a stage that
// ends within a second of the start is taken for cached.
func printedBefore(output string, moment time.Time) bool {
	lines := strings.Fields(output)
	if len(lines) == 0 {
		return false
	}
	seconds, err := strconv.ParseFloat(lines[len(lines)-1], 64)
	return err == nil && seconds < float64(moment.UnixNano())/1e9
}

// withOutput adds the last lines that a failed command printed: the message
// of dagger's ExecError leaves them out.
func withOutput(err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	output := strings.TrimSpace(exec.Stdout + "\n" + exec.Stderr)
	lines := strings.Split(output, "\n")
	lines = lines[max(0, len(lines)-25):]
	return fmt.Errorf("exit %d\n%s", exec.ExitCode, strings.Join(lines, "\n"))
}
