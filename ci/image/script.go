package image

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// stamp is the last command of every script. What an exec printed is kept
// with its result, so the time tells whether the exec ran in this build.
const stamp = "\ndate +%s.%N\n"

// Stamp matches that line, which is not for the user's eyes.
var Stamp = regexp.MustCompile(`^\d+\.\d+$`)

// script adds a shell script as one exec, in a login-free POSIX shell that
// stops at the first failure. Its first line names the stage in the engine's
// account of the build.
func (b *Builder) script(c *dagger.Container, s *stage, text string) *dagger.Container {
	return b.reaching(b.fresh(c, s.of), s).WithExec([]string{"sh", "-euc", progress.Marker(s.String()) + prelude + text + stamp})
}

// freshVariable is what a stage reads beside its inputs when the cache is not
// to be used.
const freshVariable = "PIPELINE_BUILD"

// NoCacheAll is what NoCache may hold besides the name of an app: every stage is
// built anew.
const NoCacheAll = "all"

// fresh makes what follows run anew where that was asked for.
func (b *Builder) fresh(c *dagger.Container, of string) *dagger.Container {
	if b.NoCache == "" || b.NoCache != NoCacheAll && b.NoCache != of {
		return c
	}
	b.idOnce.Do(func() { b.id = rand.Text() })
	return c.WithEnvVariable(freshVariable, b.id)
}

// cached mounts a home folder that lasts from build to build and is part of no
// layer: the caches of uv and yarn lie below it. yarn 1 fails
// when two of it fill one folder, so each app has its own.
func (b *Builder) cached(c *dagger.Container, name string) *dagger.Container {
	return c.WithMountedCache(cacheHome, b.Client.CacheVolume("erpnext-pipeline-"+name)).
		WithEnvVariable("HOME", cacheHome)
}

const cacheHome = "/var/cache/pipeline"

// printedBefore reports whether the stamp at the end of an output is older than
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

// unemulated says what to do about a failure where the engine's machine runs no
// program for the stage's platform.
func (b *Builder) unemulated(s *stage, err error) error {
	if b.platformOf(s) == b.native || !strings.Contains(err.Error(), "exec format error") {
		return err
	}
	_, architecture, _ := strings.Cut(string(s.platform), "/")
	return problem.Report{{
		Code: "image.emulation", Subject: string(s.platform), Err: err,
		Detail: "the engine's machine runs no programs for it",
		Remedy: "have that machine emulate it, with docker run --privileged --rm tonistiigi/binfmt --install " + architecture +
			" or in GitHub Actions with docker/setup-qemu-action; or build with --platform " + string(b.native),
	}}.Err()
}

// withOutput adds the last lines that a failed command printed: the message
// of dagger's ExecError leaves them out.
func withOutput(err error) error {
	var exec *dagger.ExecError
	if !errors.As(err, &exec) {
		return err
	}
	return execFailure{exec}
}

// execFailure is a command's failure with what it printed last.
type execFailure struct{ exec *dagger.ExecError }

func (f execFailure) Error() string {
	output := strings.TrimSpace(f.exec.Stdout + "\n" + f.exec.Stderr)
	if output == "" {
		output = f.exec.Error() // the engine says why it could not be started
	}
	lines := strings.Split(output, "\n")
	return fmt.Sprintf("exit %d\n%s", f.exec.ExitCode, strings.Join(lines[max(0, len(lines)-25):], "\n"))
}

func (f execFailure) Unwrap() error { return f.exec }
