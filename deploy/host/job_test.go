//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transcript is a writer that can be read meanwhile.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// TestJobOutlivesConnection breaks the connection while a job runs, follows on
// over the next one, and has every byte once.
func TestJobOutlivesConnection(t *testing.T) {
	s := realSSHD(t)
	for _, test := range []struct {
		name string
		cut  func(t *testing.T, n *network, h *Host)
	}{
		{"closed", func(_ *testing.T, _ *network, h *Host) { _ = h.Close() }},
		{"reset", func(_ *testing.T, n *network, _ *Host) { n.reset() }},
		{"black hole", func(_ *testing.T, n *network, _ *Host) { n.blackHole() }},
		{"sshd killed", func(t *testing.T, _ *network, _ *Host) { s.killSessions(t) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "it's a log")
			n := newNetwork(t, s.address)
			c := s.through(n)
			c.KeepAlive = 3 * time.Second
			h := dial(t, c)
			var job Job
			within(t, 8*time.Second, "start", func() {
				var err error
				job, err = h.StartDetached(t.Context(), script(`
					i=0; while [ $i -lt 10 ]; do i=$((i+1)); echo "line $i"; sleep 0.1; done
					until [ -e "$1" ]; do sleep 0.1; done
					while [ $i -lt 20 ]; do i=$((i+1)); echo "line $i"; sleep 0.1; done; echo done >&2; exit 3`, dir+"/go"), log)
				if err != nil {
					t.Fatal(err)
				}
			})
			if syscall.Kill(job.PID, 0) != nil {
				t.Errorf("there is no process %d", job.PID)
			}
			var seen transcript
			type end struct {
				next int64
				err  error
			}
			ended := make(chan end, 1)
			go func() {
				next, _, err := h.Follow(t.Context(), log, log, 0, &seen)
				ended <- end{next, err}
			}()
			eventually(t, "output arrives as it is written", func() bool { return strings.Contains(seen.String(), "line 5\n") })
			test.cut(t, n, h)
			var first end
			select {
			case first = <-ended:
			case <-time.After(15 * time.Second):
				t.Fatal("the end of the connection is not noticed")
			}
			if !errors.Is(first.err, ErrOutcomeUnknown) {
				t.Errorf("following ended with %v", first.err)
			}
			again := s.dial(t)
			if state, err := again.JobState(t.Context(), log); err != nil || state.Phase != JobRunning {
				t.Errorf("after the break the job is %+v, %v", state, err)
			}
			if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			next, state, err := again.Follow(t.Context(), log, log, first.next, &seen)
			if err != nil || state != (JobState{Phase: JobExited, Exit: 3}) {
				t.Errorf("followed to the end: %+v, %v", state, err)
			}
			var want strings.Builder
			for i := range 20 {
				fmt.Fprintf(&want, "line %d\n", i+1)
			}
			want.WriteString("done\n")
			if got := seen.String(); got != want.String() {
				t.Errorf("seen in both parts: %q", got)
			}
			if next != int64(want.Len()) {
				t.Errorf("next is %d, the log has %d bytes", next, want.Len())
			}
		})
	}
}

// TestStartDetached: what a job is given, and what is refused.
func TestStartDetached(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		h := s.dial(t)
		finish := func(t *testing.T, log string) (string, JobState) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var out bytes.Buffer
			_, state, err := h.Follow(ctx, log, log, 0, &out)
			if err != nil {
				t.Fatal(err)
			}
			return out.String(), state
		}
		t.Run("a process of its own", func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			// Input, interrupts, session and leader, umask, file descriptors.
			job, err := h.StartDetached(t.Context(), script(`
				cat
				sh -c 'kill -INT $$; echo ignores interrupts'
				session() { echo "session $6"; }; session $(cat /proc/$$/stat)
				umask
				readlink /proc/$$/fd/* >"$1"
				grep -E '^socket:|^pipe:|^/dev/pts' <"$1" | grep -vxF "$2"; env | grep DEPLOY_RUN`, log+".fds", inherited()), log)
			if err != nil {
				t.Fatal(err)
			}
			mask, err := h.Run(t.Context(), []string{"sh", "-c", "umask"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, state := finish(t, log)
			if want := fmt.Sprintf("session %d\n%s", job.PID, mask.Stdout); out != want || state.Phase != JobExited {
				t.Errorf("got %q, %+v, want %q", out, state, want)
			}
			if info, _ := os.Stat(log); info.Mode() != 0o600 {
				t.Errorf("the log has mode %v", info.Mode())
			}
		})
		t.Run("once per log", func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			start := func() error {
				_, err := h.StartDetached(t.Context(), script("echo run; sleep 0.5"), log)
				return err
			}
			var (
				all    sync.WaitGroup
				mu     sync.Mutex
				began  int
				others []error
			)
			for range 5 {
				all.Go(func() {
					err := start()
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						began++
					} else {
						others = append(others, err)
					}
				})
			}
			all.Wait()
			for _, err := range others {
				if !errors.Is(err, ErrExists) {
					t.Errorf("got %v, want ErrExists", err)
				}
			}
			out, state := finish(t, log)
			if began != 1 || out != "run\n" || state != (JobState{Phase: JobExited}) {
				t.Errorf("%d began, the log has %q, the state is %+v", began, out, state)
			}
			if err := start(); !errors.Is(err, ErrExists) {
				t.Errorf("after its end: %v, want ErrExists", err)
			}
		})
		t.Run("refused", func(t *testing.T) {
			dir := t.TempDir()
			_, err := h.StartDetached(t.Context(), []string{"no-such-command"}, dir+"/log")
			if exitOf(err) != 127 || !strings.Contains(err.Error(), "no-such-command: not found") {
				t.Errorf("no such command: %v", err)
			}
			_, err = h.StartDetached(t.Context(), []string{"true"}, dir+"/none/log")
			var failed *RunError
			if !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "none/log") {
				t.Errorf("no folder for the log: %v", err)
			}
			if got := names(t, dir); got != "" {
				t.Errorf("left behind: %q", got)
			}
		})
		t.Run("cancelled at any moment", func(t *testing.T) {
			dir := t.TempDir()
			for i := range 20 {
				log := fmt.Sprintf("%s/%d", dir, i)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*3)*time.Millisecond)
				_, err := h.StartDetached(ctx, script("echo in; sleep 0.2; echo out"), log)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("after %d ms: %v", i*3, err)
				}
			}
			time.Sleep(time.Second) // for those that were under way
			for i := range 20 {
				log := fmt.Sprintf("%s/%d", dir, i)
				out, state := finish(t, log)
				begun := state == (JobState{Phase: JobExited}) && out == "in\nout\n"
				if !begun && (state.Phase != JobNone || out != "") {
					t.Errorf("cancelled after %d ms: %+v with %q", i*3, state, out)
				}
			}
		})
		t.Run("states", func(t *testing.T) {
			dir := t.TempDir()
			check := func(log string, want JobState) {
				t.Helper()
				eventually(t, fmt.Sprintf("job is %+v", want), func() bool {
					got, err := h.JobState(t.Context(), log)
					return err == nil && got == want
				})
			}
			check(dir+"/none", JobState{Phase: JobNone})
			job, err := h.StartDetached(t.Context(), []string{"sleep", "60"}, dir+"/killed")
			if err != nil {
				t.Fatal(err)
			}
			check(job.Log, JobState{Phase: JobRunning})
			if err := syscall.Kill(-job.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			check(job.Log, JobState{Phase: JobGone})
			// Another process has got the number.
			if err := os.WriteFile(dir+"/reused.pid", []byte(fmt.Sprintf("%d 1\n", os.Getpid())), 0o600); err != nil {
				t.Fatal(err)
			}
			check(dir+"/reused", JobState{Phase: JobGone})
			if err := os.WriteFile(dir+"/restarted.pid", []byte("4000000 77\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			check(dir+"/restarted", JobState{Phase: JobGone})
		})
		t.Run("another file of the job", func(t *testing.T) {
			dir := t.TempDir()
			if _, err := h.StartDetached(t.Context(), script(`sleep 0.5; printf 0123456789 >"$1"; sleep 0.5; echo end >>"$1"`, dir+"/journal"), dir+"/log"); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			next, state, err := h.Follow(t.Context(), dir+"/log", dir+"/journal", 4, &out)
			if err != nil || out.String() != "456789end\n" || next != 14 || state.Phase != JobExited {
				t.Errorf("got %q, %d, %+v, %v", out.String(), next, state, err)
			}
		})
	})
}

// inherited lists what this process has open; what it got from its own parent,
// the server in this process passes on.
func inherited() string {
	all := []string{"none"}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			all = append(all, target)
		}
	}
	return strings.Join(all, "\n")
}

// TestFollowEnds: following ends with its context, and leaves nothing on the
// host.
func TestFollowEnds(t *testing.T) {
	s := realSSHD(t)
	h := s.dial(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	// It ends with the test, whose folder goes.
	if _, err := h.StartDetached(t.Context(), script(`while [ -d "$1" ]; do sleep 0.1; done`, dir), log); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(file, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen transcript
	type end struct {
		next int64
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		next, _, err := h.Follow(ctx, log, file, 4, &seen)
		ended <- end{next, err}
	}()
	eventually(t, "what is there is seen", func() bool { return seen.String() == "two\n" })
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("three\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what comes is seen", func() bool { return seen.String() == "two\nthree\n" })
	if followers(file) == 0 {
		t.Error("the follower on the host can't be found")
	}
	cancel()
	got := <-ended
	if !errors.Is(got.err, context.Canceled) || got.next != 14 {
		t.Errorf("Follow = %d, %v", got.next, got.err)
	}
	eventually(t, "nothing is left on the host", func() bool { return followers(file) == 0 })

	t.Run("when the connection breaks", func(t *testing.T) {
		h := s.dial(t)
		go func() { _, _, _ = h.Follow(t.Context(), log, file, 0, &transcript{}) }()
		eventually(t, "following", func() bool { return followers(file) > 0 })
		s.killSessions(t)
		eventually(t, "nothing is left on the host", func() bool { return followers(file) == 0 })
	})
}

// followers counts processes that have a file in their arguments.
func followers(file string) int {
	count := 0
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range all {
		if text, _ := os.ReadFile(name); bytes.Contains(text, []byte(file)) {
			count++
		}
	}
	return count
}
