package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Job is a command that runs on the host by itself. It is known by its log:
// beside it are LOG.pid, who it is, and LOG.exit, how it ended.
type Job struct {
	// Log is the file that has the output, both streams.
	Log string
	// PID is the process, at the time of the start.
	PID int
}

// JobPhase says where a job is.
type JobPhase string

const (
	// JobNone means that no job was ever started with this log.
	JobNone JobPhase = "none"
	// JobRunning means that it runs.
	JobRunning JobPhase = "running"
	// JobExited means that it ended and left its exit code.
	JobExited JobPhase = "exited"
	// JobGone means that it was ended from outside, by a signal or a restart
	// of the host, before it could leave an exit code.
	JobGone JobPhase = "gone"
)

// JobState is what the host knows about a job.
type JobState struct {
	Phase JobPhase
	// Exit is the exit code of a job that exited.
	Exit int
}

// StartDetached starts a command that does not need this connection: it goes
// on when the connection is lost, and when this program is. It returns when
// the job is sure to run. Both output streams go to the end of the log, whose
// folder has to be there. The input is empty.
//
// When the context is done meanwhile, the job was started whole or not at all.
//
// A log belongs to one job for ever: where it has one, nothing is started and
// the error is [ErrExists]. So after ErrOutcomeUnknown the same call can be
// repeated over a new connection without starting the command twice.
//
// On a host where systemd-logind has KillUserProcesses=yes, which is not the
// default, jobs of users other than root end with their last login.
func (h *Host) StartDetached(ctx context.Context, argv []string, log string) (Job, error) {
	job := Job{Log: log}
	if len(argv) == 0 {
		return job, errors.New("start: no command")
	}
	fail := func(err error) error { return fmt.Errorf("start %s: %w", brief(Quote(argv)), err) }
	result, err := h.Run(ctx, script(startJobScript, append([]string{log}, argv...)...), Options{})
	if exitOf(err) == exitExists {
		return job, fail(fmt.Errorf("%s: %w", log, ErrExists))
	}
	if err != nil {
		return job, fail(err)
	}
	if job.PID, err = strconv.Atoi(lastLine(result.Stdout)); err != nil {
		return job, fail(fmt.Errorf("%w: read its process number: %w", ErrOutcomeUnknown, err))
	}
	return job, nil
}

// JobState returns the state of the job with this log.
func (h *Host) JobState(ctx context.Context, log string) (JobState, error) {
	result, err := h.Run(ctx, script(jobStateScript+`state "$1"`, log), Options{})
	if err != nil {
		return JobState{}, fmt.Errorf("ask for job %s: %w", log, err)
	}
	phase, code, _ := strings.Cut(lastLine(result.Stdout), " ")
	state := JobState{Phase: JobPhase(phase)}
	if state.Phase == JobExited {
		if state.Exit, err = strconv.Atoi(code); err != nil {
			return state, fmt.Errorf("ask for job %s: read exit code: %w", log, err)
		}
	}
	return state, nil
}

// followLooks bounds a command on the host whose output is no longer read to
// about ten minutes.
const followLooks = 3000

// Follow copies a file of the host to w from a byte offset on, as it grows,
// until the job has ended and all of it was copied; then it returns the job's
// state. The file may be the job's log or another one that it writes, and it
// need not be there yet.
//
// With an error, next is the offset from which to go on, over this connection
// or the next one.
func (h *Host) Follow(ctx context.Context, job, file string, offset int64, w io.Writer) (next int64, state JobState, err error) {
	counted := &countingWriter{w: w, n: offset}
	for {
		// Standard input stays open as long as the output is read here.
		listening, hangUp := io.Pipe()
		argv := script(jobStateScript+followScript, file, strconv.FormatInt(counted.n, 10), job, strconv.Itoa(followLooks))
		began := time.Now()
		_, err := h.Run(ctx, argv, Options{Stdin: listening, Stdout: counted})
		_ = hangUp.Close()
		if err == nil {
			break
		}
		if exitOf(err) != exitMore {
			return counted.n, state, fmt.Errorf("follow %s: %w", file, err)
		}
		if time.Since(began) < time.Second {
			return counted.n, state, fmt.Errorf("follow %s: ended at once: %w", file, err)
		}
	}
	state, err = h.JobState(ctx, job)
	return counted.n, state, err
}
