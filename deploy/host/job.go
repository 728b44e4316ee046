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

// startJob starts "$2…" with the log $1, away from this session: a session of
// its own, no terminal, nothing inherited that would keep the connection
// waiting, hangups ignored. It prints the process number when the job has its
// log and its mark; the mark is a hard link, because making one fails where
// there is one already. setsid forks rather than the shell, which would have
// the job ignore interrupts (POSIX: asynchronous lists).
//
// The mark has the process number and the tick at which the process started,
// so that another process with the same number is not taken for it. A process
// is /proc/PID/stat; proc_pid_stat(5) counts its fields from 1.
//
// It takes off the mark by which a cancelled Run ends what it started: from
// here on only the host ends the job, also when nobody reads its number.
const startJob = `unset ` + runMark + `
command -v "$2" >/dev/null || { echo "$2: not found" >&2; exit 127; }
job='
	log=$1; shift
	mask=$(umask); umask 077
	: >>"$log" || exit
	read -r stat </proc/$$/stat
	tick=$(echo "$stat" | cut -d" " -f22)
	mark=$log.pid.$$
	echo "$$ $tick" >"$mark" || exit
	ln "$mark" "$log.pid" 2>/dev/null || { rm -f "$mark"; [ -e "$log.pid" ] && echo exists; exit; }
	rm -f "$mark"
	exec 3>&1 </dev/null >>"$log" 2>&1
	trap "" HUP
	(trap "" PIPE; echo "$$" >&3) 2>/dev/null
	exec 3>&-
	umask "$mask"
	"$@"
	code=$?
	umask 077
	echo "$code" >"$log.exit.part" && mv -f "$log.exit.part" "$log.exit"
'
if setsid --fork true 2>/dev/null; then
	said=$(setsid --fork sh -c "$job" sh "$@")
else
	said=$(sh -c "$job" sh "$@" &)
fi
case $said in
exists) exit 45 ;;
"") exit 1 ;;
esac
echo "$said"`

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
	result, err := h.Run(ctx, script(startJob, append([]string{log}, argv...)...), Options{})
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

// jobState is a shell function that prints a job's phase and exit code. The
// exit code is looked for again last: the job may have ended in between. A
// zombie has ended.
const jobState = `ended() { [ -f "$1.exit" ] && read -r code <"$1.exit" && echo "exited $code"; }
alive() {
	set -f
	read -r pid tick <"$1.pid" && read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
	want=$tick
	set -- $stat
	[ "$3" != Z ] && [ "${22}" = "$want" ]
}
state() {
	ended "$1" && return
	[ -f "$1.pid" ] || { echo none; return; }
	if (alive "$1") 2>/dev/null; then echo running; else ended "$1" || echo gone; fi
}
`

// JobState asks the host about the job with this log.
func (h *Host) JobState(ctx context.Context, log string) (JobState, error) {
	result, err := h.Run(ctx, script(jobState+`state "$1"`, log), Options{})
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

// followFile prints the file $1 from byte $2 on as it grows, and ends when the
// job with the log $3 has ended and everything of it was printed; with $3
// empty it goes on. It looks five times a second and ends by itself after $4
// looks, or when standard input is closed, because sshd leaves commands
// running when a connection is lost. Exit code 75 means that there may be more.
const followFile = jobState + `file=$1 at=$2 log=$3 left=$4
exec 3<&0
cat <&3 >/dev/null 2>&1 &
watch=$!
while [ "$left" -gt 0 ]; do
	last=
	if [ -n "$log" ]; then case $(state "$log") in running) ;; *) last=1 ;; esac; fi
	size=$at
	[ ! -f "$file" ] || size=$(wc -c <"$file")
	if [ "$size" -gt "$at" ]; then
		tail -c "+$((at + 1))" -- "$file" | head -c "$((size - at))" || exit 1
		at=$size
	fi
	[ -z "$last" ] || exit 0
	kill -0 "$watch" 2>/dev/null || exit 75
	sleep 0.2 2>/dev/null || sleep 1
	left=$((left - 1))
done
exit 75`

const (
	exitMore = 75
	// followLooks bounds a command on the host that nobody listens to any
	// more to about ten minutes.
	followLooks = 3000
)

// Follow copies a file of the host to w from a byte offset on, as it grows,
// until the job has ended and all of it was copied; then it gives the job's
// state. The file may be the job's log or another one that it writes, and it
// need not be there yet.
//
// With an error, next is the offset from which to go on, over this connection
// or the next one.
func (h *Host) Follow(ctx context.Context, job, file string, offset int64, w io.Writer) (next int64, state JobState, err error) {
	if next, err = h.follow(ctx, job, file, offset, w); err != nil {
		return next, state, err
	}
	state, err = h.JobState(ctx, job)
	return next, state, err
}

// Tail copies a file of the host to w from a byte offset on, as it grows,
// until the context is done. next is the offset from which to go on.
func (h *Host) Tail(ctx context.Context, file string, offset int64, w io.Writer) (next int64, err error) {
	return h.follow(ctx, "", file, offset, w)
}

func (h *Host) follow(ctx context.Context, job, file string, offset int64, w io.Writer) (int64, error) {
	counted := &countingWriter{w: w, n: offset}
	for {
		// Standard input stays open as long as somebody listens here.
		listening, hangUp := io.Pipe()
		argv := script(followFile, file, strconv.FormatInt(counted.n, 10), job, strconv.Itoa(followLooks))
		began := time.Now()
		_, err := h.Run(ctx, argv, Options{Stdin: listening, Stdout: counted})
		_ = hangUp.Close()
		if exitOf(err) != exitMore {
			if err != nil {
				return counted.n, fmt.Errorf("follow %s: %w", file, err)
			}
			return counted.n, nil
		}
		if time.Since(began) < time.Second {
			return counted.n, fmt.Errorf("follow %s: ended at once: %w", file, err)
		}
	}
}
