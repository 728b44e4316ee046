package deploy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Deployer carries plans out.
type Deployer struct {
	// Dial connects to the host. It is called again when the connection is
	// lost.
	Dial func(ctx context.Context) (Host, error)
	// Registry connects to the registry of this process, for the host to pull
	// from through the SSH connection. Nil where the host reaches the registry
	// by itself.
	Registry func(ctx context.Context) (net.Conn, error)
	// Observe is told what happens, in order; nil for nobody.
	Observe func(Event)
	// Interrupt asks to stop: when it is closed, a run that has not come to
	// its critical part is undone, and one that has goes on. Ending the
	// context does the same, but does not wait for a run that goes on.
	Interrupt <-chan struct{}
	// ReconnectTimeout is how long to try to get a lost connection back. Zero means
	// five minutes.
	ReconnectTimeout time.Duration
}

// Event is something that happens during a run.
type Event struct {
	Kind EventKind
	// Step is the name of the step it is about.
	Step string
	// Seconds is how long a step took by the host's clock, Exit its exit code.
	Seconds float64
	Exit    int
	// Text is a line of a step's output, or what else there is to say.
	Text string
}

// EventKind says what an event is.
type EventKind string

// The kinds of events.
const (
	StepBegan    EventKind = "step began"
	StepEnded    EventKind = "step ended"
	UndoBegan    EventKind = "undo began"
	UndoEnded    EventKind = "undo ended"
	Output       EventKind = "output"
	Disconnected EventKind = "disconnected" // Text has the reason
	Reconnected  EventKind = "reconnected"
	Stopping     EventKind = "stopping"    // the run is asked to stop
	CarryingOn   EventKind = "carrying on" // the run can't be stopped any more
	Interrupted  EventKind = "interrupted" // its process is gone; it goes on by itself
)

const (
	defaultReconnectTimeout = 5 * time.Minute
	// startLimit bounds the start of a run, which is waited for even when the
	// caller wants to stop: it has to be known whether there is a run.
	startLimit = time.Minute
	// stopLimit is how long a run that was asked to stop has to undo what it
	// did.
	stopLimit = 2 * time.Minute
)

// Run carries a plan out for a pushed image, and gives the record of the
// release.
//
// A release that did not go live is a [*FailedError]; one that was stopped by
// request before anything was changed is [ErrInterrupted].
func (d Deployer) Run(ctx context.Context, p Plan, image release.Image) (release.Record, error) {
	r := d.newSession(p, p.runID())
	r.record = p.record(r.id, image)
	if p.Kind == Release && p.set == nil {
		return r.record, r.untouched(errors.New("its plan has problems"))
	}
	defer r.hangUp()
	if err := r.start(ctx); err != nil {
		if ctx.Err() != nil {
			return r.record, fmt.Errorf("%w: %w", ErrInterrupted, context.Cause(ctx))
		}
		return r.record, r.untouched(err)
	}
	return r.watch(ctx)
}

func (d Deployer) newSession(p Plan, id string) *session {
	r := &session{Deployer: d, plan: p, at: layout{p.Target.Dir}, id: id, began: map[string]float64{}}
	for _, s := range p.steps() {
		if s.critical && r.firstCritical == "" {
			r.firstCritical = s.file
		}
	}
	if r.ReconnectTimeout <= 0 {
		r.ReconnectTimeout = defaultReconnectTimeout
	}
	if r.Observe == nil {
		r.Observe = func(Event) {}
	}
	return r
}

// session is one run under way.
type session struct {
	Deployer
	plan   Plan
	at     layout
	id     string
	record release.Record
	// firstCritical is the file name of the first critical step.
	firstCritical string

	// conn is the connection; nil while there is none.
	mu       sync.Mutex
	conn     Host
	forward  *host.Forward
	registry string // its address on the host, once it had one

	// What was read of the run's output so far.
	offset  int64
	partial string
	journal runner.Journal
	began   map[string]float64
	tail    []string // of the step under way
	reason  []string // of the step that failed
	notes   []string // what undoing has to say to people
}

// record is what is known of a release before it goes live.
func (p Plan) record(id string, image release.Image) release.Record {
	strategy := p.runSpec("", "").strategy
	if p.Kind != Release {
		record := p.back
		record.Rollback, record.RestoredFrom, record.Previous = true, p.RestoreFrom, p.Previous
		record.Strategy, record.StartedAt, record.Run = strategy, time.Now().UTC(), id
		record.FinishedAt, record.Downtime, record.Steps = time.Time{}, 0, nil
		return record
	}
	record := release.Record{
		Version: p.Version, Image: image, Lock: p.lock, Project: p.Target.Project, Sites: p.Sites,
		Previous: p.Previous, Strategy: strategy, StartedAt: time.Now().UTC(), Run: id,
	}
	if p.set != nil {
		for _, f := range p.set.Files {
			record.ComposeFiles = append(record.ComposeFiles, f.Name)
		}
	}
	return record
}

// files makes the folder of the run. What belongs into releases/ lies in it
// until the run has the lock.
func (r *session) files() ([]host.File, error) {
	target := r.plan.Target
	if r.registry != "" {
		target.PullAddress = r.registry
	}
	image := ""
	if r.plan.Kind == Release {
		image = target.pullReference(r.record.Image)
	}
	l := r.plan.runSpec(r.id, image)
	l.tagged = repositoryPath(r.record.Image.Repository) + ":" + r.plan.Version
	record, err := json.MarshalIndent(r.record, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", recordFile, err)
	}
	files := append(runFiles(l),
		host.File{Name: runner.Name, Mode: 0o700, Data: runner.Script},
		host.File{Name: "owner", Mode: 0o600, Data: []byte("by=" + oneLine(target.Owner) + "\n")})
	switch r.plan.Kind {
	case Prune:
		return files, nil
	case Rollback:
		return append(files, host.File{Name: recordFile, Mode: 0o600, Data: append(record, '\n')}), nil
	}
	dotEnv, err := r.plan.dotEnv(l.image)
	if err != nil {
		return nil, err
	}
	var services strings.Builder
	for _, name := range r.plan.set.Services {
		fmt.Fprintf(&services, "%s %s\n", r.plan.set.Roles[name], name)
	}
	for name, data := range map[string][]byte{
		".env": dotEnv, recordFile: append(record, '\n'), "services": []byte(services.String()),
		"compose-files": []byte(strings.Join(r.record.ComposeFiles, "\n") + "\n"),
	} {
		files = append(files, host.File{Name: "release/" + name, Mode: 0o600, Data: data})
	}
	for _, f := range r.plan.set.Files {
		files = append(files, host.File{Name: "release/" + f.Name, Mode: 0o600, Data: f.Data})
	}
	return files, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// start connects, uploads the run and starts it. With an error there is no run
// on the host.
func (r *session) start(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	target := r.plan.Target
	if r.plan.Kind == Release {
		if err := pullWithLogin(ctx, r.connection(), target.Login, target.pullReference(r.record.Image)); err != nil {
			return err
		}
	}
	files, err := r.files()
	if err != nil {
		return err
	}
	dir := r.at.run(r.id)
	err = r.do(ctx, func(h Host) error {
		err := h.UploadTree(ctx, dir, files)
		if errors.Is(err, host.ErrExists) {
			// By the attempt before: nobody else makes this folder.
			return nil
		}
		return err
	})
	if err == nil && ctx.Err() == nil {
		// From here on it has to be known whether there is a run.
		starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
		defer cancel()
		err = r.do(starting, func(h Host) error {
			_, err := h.StartDetached(starting, runner.Command(dir, "start"), r.at.log(r.id))
			if errors.Is(err, host.ErrExists) {
				return nil
			}
			return err
		})
		if err == nil {
			return nil
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	r.discard(ctx)
	return err
}

// discardRun removes a run that was never started, or what it had for
// releases/, which has secrets in it.
const discardRun = `if [ -e "$1/journal" ]; then rm -rf -- "$1/release"; else rm -rf -- "$1"; fi`

func (r *session) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if h := r.connection(); h != nil {
		// It is rubbish that only its owner can read.
		_, _ = h.Run(ctx, script(discardRun, r.at.run(r.id)), host.Options{})
	}
}

func (r *session) connection() Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conn
}

// connect makes a connection, and on it the way to the registry.
func (r *session) connect(ctx context.Context) error {
	h, err := r.Dial(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn = h
	if r.Registry == nil {
		return nil
	}
	// The first address is part of the image's name there, so it is asked for
	// again; but it may be taken still by the connection that was lost.
	address := r.registry
	if address == "" {
		address = "127.0.0.1:0"
	}
	forward, err := h.Forward(context.WithoutCancel(ctx), address, r.Registry)
	if err != nil {
		if r.registry != "" {
			// Without it a pull fails and is undone, and all else goes on.
			r.Observe(Event{Kind: Disconnected, Text: "the registry: " + err.Error()})
			return nil
		}
		return fmt.Errorf("offer the registry to the host: %w", err)
	}
	r.forward = forward
	r.registry = fmt.Sprintf("127.0.0.1:%d", forward.Port())
	return nil
}

// hangUp closes the connection, if there is one.
func (r *session) hangUp() {
	r.mu.Lock()
	h, forward := r.conn, r.forward
	r.conn, r.forward = nil, nil
	r.mu.Unlock()
	if forward != nil {
		_ = forward.Close()
	}
	if h != nil {
		_ = h.Close()
	}
}

// do uses the connection, and makes a new one when it is lost, until patience
// ends. An answer of the host, good or bad, is the end of it.
func (r *session) do(ctx context.Context, use func(Host) error) error {
	lost := time.Time{}
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		var err error
		if r.connection() == nil {
			err = r.connect(ctx)
			if err == nil && !lost.IsZero() {
				r.Observe(Event{Kind: Reconnected})
			}
		}
		if err == nil {
			err = use(r.connection())
			var answer *host.RunError
			if err == nil || errors.As(err, &answer) {
				return err
			}
			r.hangUp()
		}
		if ctx.Err() != nil {
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
			r.Observe(Event{Kind: Disconnected, Text: err.Error()})
		}
		if time.Since(lost) > r.ReconnectTimeout {
			return fmt.Errorf("no connection for %s: %w", r.ReconnectTimeout, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// watch follows the run to its end.
func (r *session) watch(ctx context.Context) (release.Record, error) {
	// The context that was given ends the watching only after the run had its
	// chance to stop.
	following, leave := context.WithCancel(context.WithoutCancel(ctx))
	defer leave()
	ended := make(chan struct{})
	stopper := make(chan struct{})
	go func() {
		defer close(stopper)
		r.listen(ctx, following, leave, ended)
	}()

	log := r.at.log(r.id)
	var state host.JobState
	err := r.do(following, func(h Host) error {
		var err error
		r.offset, state, err = h.Follow(following, log, log, r.offset, (*output)(r))
		var answer *host.RunError
		if errors.As(err, &answer) {
			// Whatever it is, it is not the run's end.
			return fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, errors.New(answer.Error()))
		}
		return err
	})
	outcome := outcomeOf(state)
	if err == nil && outcome == "" {
		outcome, err = r.catchUp(following)
	}
	close(ended)
	<-stopper
	if err != nil {
		return r.record, r.unknown(ctx, err)
	}
	return r.ended(ctx, outcome)
}

// outcomeOf gives what the runner's exit code says, or nothing where its
// process was ended from outside.
func outcomeOf(state host.JobState) RunStatus {
	if state.Phase == host.JobExited {
		switch state.Exit {
		case runner.ExitDone:
			return RunDone
		case runner.ExitUndone:
			return RunUndone
		case runner.ExitHeld:
			return RunHeld
		case runner.ExitRefused:
			return RunNotStarted
		}
	}
	return ""
}

// ended is the end of a run, whatever it was.
func (r *session) ended(ctx context.Context, outcome RunStatus) (release.Record, error) {
	r.line(r.partial)
	switch outcome {
	case RunDone:
		return r.done(ctx)
	case RunUndone:
		return r.record, r.undone(ctx)
	case RunHeld:
		return r.record, r.held()
	case RunNotStarted:
		r.discard(ctx)
		return r.record, r.untouched(errors.New("the host refused it"))
	}
	return r.record, r.interrupted()
}

// look prints what a run is doing, and then its log from byte $2 on.
const look = `sh "$1/runner" status && tail -c "+$(($2 + 1))" -- "$1/log"`

// wakeLimit is how long a run that was interrupted has to go on by itself. The
// crontab wakes it every minute.
const wakeLimit = 90 * time.Second

// catchUp watches a run whose first process is gone: the host was restarted,
// or something killed it. It goes on by itself. An empty outcome is a run that
// does not.
func (r *session) catchUp(ctx context.Context) (RunStatus, error) {
	var since time.Time
	for {
		var status RunStatus
		err := r.do(ctx, func(h Host) error {
			result, err := h.Run(ctx, script(look, r.at.run(r.id), strconv.FormatInt(r.offset, 10)), host.Options{})
			var answer *host.RunError
			if errors.As(err, &answer) {
				return fmt.Errorf("%w: %w", host.ErrOutcomeUnknown, errors.New(answer.Error()))
			}
			if err != nil {
				return err
			}
			word, text, _ := strings.Cut(result.Stdout, "\n")
			status = RunStatus(word)
			r.offset += int64(len(text))
			_, _ = (*output)(r).Write([]byte(text))
			return nil
		})
		if err != nil {
			return "", err
		}
		switch status {
		case RunDone, RunUndone, RunHeld:
			return status, nil
		case RunRunning:
			since = time.Time{}
		default:
			if since.IsZero() {
				since = time.Now()
				r.Observe(Event{Kind: Interrupted})
			}
			if time.Since(since) > wakeLimit {
				return "", nil
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// ErrNothingToTakeOver is a host on which no run waits for somebody.
var ErrNothingToTakeOver = errors.New("no run was interrupted, and none waits for a person")

// takenUp prints the length of a run's log, its first critical step and its
// journal.
const takenUp = `wc -c <"$1/log" && cat "$1/critical" "$1/journal"`

// takesUp waits until a runner, process $3, has written into the journal, which
// had $2 lines, or has ended: before that, the run's state is that of its last
// runner.
const takesUp = `until [ "$(wc -l <"$1/journal")" -gt "$2" ] || ! kill -0 "$3" 2>/dev/null; do sleep 0.05; done`

// TakeOver finishes the run that was interrupted or that waits for a person,
// with the verb "resume" or "undo" of its runner, and watches it as
// [Deployer.Run] does.
func (d Deployer) TakeOver(ctx context.Context, s State, t Target, verb string) (release.Record, error) {
	if s.LastRun == nil || s.LastRun.Status != RunInterrupted && s.LastRun.Status != RunHeld {
		return release.Record{}, ErrNothingToTakeOver
	}
	id := s.LastRun.ID
	p := Plan{Kind: Release, Target: t, Version: versionOf(id)}
	if s.Current != nil {
		p.Previous = s.Current.Version
	}
	r := d.newSession(p, id)
	r.record.Run = id
	defer r.hangUp()
	if err := r.connect(ctx); err != nil {
		return r.record, err
	}
	dir := r.at.run(id)
	before, err := r.connection().Run(ctx, script(takenUp, dir), host.Options{})
	if err != nil {
		return r.record, fmt.Errorf("look at run %s: %w", id, err)
	}
	size, rest, _ := strings.Cut(before.Stdout, "\n")
	critical, journal, _ := strings.Cut(rest, "\n")
	r.firstCritical = critical
	// What is there already is not shown again.
	if r.offset, err = strconv.ParseInt(strings.TrimSpace(size), 10, 64); err != nil {
		return r.record, fmt.Errorf("look at run %s: %w", id, err)
	}
	if r.journal, err = runner.ParseJournal(journal); err != nil {
		return r.record, fmt.Errorf("look at run %s: %w", id, err)
	}
	log := path.Join(dir, "taken-over-"+strings.ToLower(rand.Text()[:6]))
	job, err := r.connection().StartDetached(ctx, script(`sh "$1/runner" "$2" >>"$1/log" 2>&1`, dir, verb), log)
	if err != nil {
		return r.record, fmt.Errorf("%s run %s: %w", verb, id, err)
	}
	err = r.do(ctx, func(h Host) error {
		_, err := h.Run(ctx, script(takesUp, dir, strconv.Itoa(strings.Count(journal, "\n")), strconv.Itoa(job.PID)), host.Options{})
		return err
	})
	if err != nil {
		return r.record, r.unknown(ctx, err)
	}
	outcome, err := r.catchUp(ctx)
	if err != nil {
		return r.record, r.unknown(ctx, err)
	}
	return r.ended(ctx, outcome)
}

// versionOf gives the version in the name of a run.
func versionOf(id string) string {
	_, rest, _ := strings.Cut(id, "-")
	if end := strings.LastIndex(rest, "-"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// listen waits for a wish to stop.
func (r *session) listen(ctx, following context.Context, leave func(), ended <-chan struct{}) {
	interrupt := r.Interrupt
	for {
		select {
		case <-ended:
			return
		case <-interrupt:
			interrupt = nil
			r.stop(following)
		case <-ctx.Done():
			if interrupt != nil || r.Interrupt == nil {
				r.stop(following)
			}
			if r.critical() {
				leave()
				return
			}
			limit := time.NewTimer(stopLimit)
			defer limit.Stop()
			look := time.NewTicker(100 * time.Millisecond)
			defer look.Stop()
			for {
				select {
				case <-ended:
					return
				case <-look.C:
					if !r.critical() {
						continue
					}
				case <-limit.C:
				}
				leave()
				return
			}
		}
	}
}

// stop asks the run to stop. It is for the runner to know whether that is
// still possible; it says so in its output.
func (r *session) stop(ctx context.Context) {
	if r.critical() {
		r.Observe(Event{Kind: CarryingOn})
		return
	}
	r.Observe(Event{Kind: Stopping})
	if h := r.connection(); h != nil {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		_, _ = h.Run(ctx, runner.Command(r.at.run(r.id), "stop"), host.Options{})
	}
}

// critical says whether the run has come to its critical part.
func (r *session) critical() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.journal.Began(r.firstCritical)
}

// output takes in what the runner prints.
type output session

func (o *output) Write(p []byte) (int, error) {
	r := (*session)(o)
	text := r.partial + string(p)
	for {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			r.partial = text
			return len(p), nil
		}
		r.line(line)
		text = rest
	}
}

// tailLines is how much of a step's output is kept.
const tailLines = 400

func (r *session) line(line string) {
	if line == "" {
		return
	}
	entry, ok := runner.ParseLine(line)
	if !ok {
		if note, ok := strings.CutPrefix(line, "note: "); ok {
			r.notes = append(r.notes, note)
		}
		if r.tail = append(r.tail, line); len(r.tail) > tailLines {
			r.tail = r.tail[1:]
		}
		r.Observe(Event{Kind: Output, Step: stepName(r.journal.Current()), Text: line})
		return
	}
	r.mu.Lock()
	r.journal = append(r.journal, entry)
	r.mu.Unlock()
	event := Event{Step: stepName(entry.Name), Exit: entry.Exit}
	switch entry.Event {
	case runner.Begin, runner.UndoBegin:
		event.Kind = StepBegan
		if entry.Event == runner.UndoBegin {
			event.Kind = UndoBegan
		}
		r.tail = nil
		r.began[entry.Name] = entry.Seconds
	case runner.End, runner.UndoEnd:
		event.Kind = StepEnded
		if entry.Event == runner.UndoEnd {
			event.Kind = UndoEnded
		}
		event.Seconds = max(0, entry.Seconds-r.began[entry.Name])
	default:
		return
	}
	r.Observe(event)
	if entry.Event == runner.End && entry.Exit != 0 {
		// What undoing prints is about something else.
		r.reason = r.tail
		r.tail = nil
	}
}

// done gives the record as the host has it now.
func (r *session) done(ctx context.Context) (release.Record, error) {
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	record := r.record
	err := r.do(reading, func(h Host) error {
		records, err := History(reading, h, r.plan.Target)
		for _, one := range records {
			if one.Run == r.id {
				record = one
			}
		}
		return err
	})
	if err != nil {
		// It is live all the same; only the downtime is not known here.
		record = r.record
		complete(&record, r.journal, "")
	}
	return record, nil
}

// diskFull knows what MariaDB and others say where a disk is full: 28 is the
// kernel's number for it, and 135 and 1114 are MariaDB's.
var diskFull = regexp.MustCompile(`No space left on device|[Ee]rrno: (28|135)\b|Errcode: 28\b|The table '.*' is full|Can\\?'t change size of file|\(1114, `)

// The ways in which a release does not go live.

func (r *session) failed(state HostState, site string) *FailedError {
	f := &FailedError{State: state, Kind: r.plan.Kind, Version: r.plan.Version, Site: site, Log: r.at.log(r.id), Notes: r.notes}
	var file string
	file, f.Exit = r.journal.Failed()
	f.Step = stepName(file)
	said := r.reason
	if said == nil {
		said = r.tail
	}
	text := strings.Join(said, "\n")
	f.Detail = strings.Join(said[max(0, len(said)-15):], "\n")
	if f.Step == "migrate" {
		if patch, ok := bench.FailedPatch(text); ok {
			f.Patch = &patch
			what := "the patch " + patch.Name
			if patch.File() != "" {
				what = patch.File() + " in the app " + patch.App()
			}
			if diskFull.MatchString(text) {
				f.Next = []string{"the database found no room: make some on the host (df shows where it lacks), and release again under a new version"}
				return f
			}
			f.Next = []string{
				"correct " + what + ", and release under a new version",
				"or leave the patch out: take its line out of patches.txt in a new version of the app, or mark it as done with a document Patch Log that has the whole line (pipeline bench -- --site " + patch.Site + " console)",
			}
		}
		if bench.LockRefused(text) {
			f.Err = errors.New("another migrate was running on the site")
		}
	}
	return f
}

// untouched is a failure before there was a run, or of one that was refused.
func (r *session) untouched(err error) error {
	f := r.failed(NothingChanged, r.before("as it was: nothing was changed on the host"))
	f.Err, f.Log = err, ""
	return f
}

// before says what is live when nothing changed.
func (r *session) before(text string) string {
	if r.plan.Previous == "" {
		return text
	}
	return r.plan.Previous + " is live, " + text
}

func (r *session) undone(ctx context.Context) error {
	if !r.critical() {
		if _, exit := r.journal.Failed(); r.wantsStop(ctx) && (exit == 0 || exit > 128) {
			return fmt.Errorf("%w: %w", ErrInterrupted, context.Canceled)
		}
		return r.failed(NothingChanged, r.before("as it was: nothing was changed"))
	}
	if r.plan.Previous == "" {
		return r.failed(RolledBack, "there is none, as before: its containers were taken down again, volumes are left")
	}
	return r.failed(RolledBack, r.plan.Previous+" is live again and answers")
}

// wantsStop says whether somebody asked to stop.
func (r *session) wantsStop(ctx context.Context) bool {
	select {
	case <-r.Interrupt:
		return true
	default:
		return ctx.Err() != nil
	}
}

// byHand is the command line for a verb on the run.
func (r *session) byHand(verb string) string {
	return host.Quote(runner.Command(r.at.run(r.id), verb))
}

// held is a run that could not put everything back.
func (r *session) held() error {
	f := r.failed(NeedsPerson, "held in maintenance mode: putting everything back did not succeed, and nothing more is touched")
	var undoing string
	for _, e := range r.journal {
		if e.Event == runner.UndoEnd && e.Exit != 0 {
			undoing = stepName(e.Name)
		}
	}
	if undoing != "" {
		f.Notes = append(f.Notes, "what failed while putting everything back: "+undoing+"\n"+strings.Join(r.tail[max(0, len(r.tail)-10):], "\n"))
	}
	cause := "find the cause in the log, and remove it"
	if diskFull.MatchString(f.Detail + "\n" + strings.Join(f.Notes, "\n")) {
		cause = "make room on the host, where a disk is full (df shows which)"
	}
	f.Next = []string{
		cause,
		"then put everything back: pipeline unlock --undo, or on the host: " + r.byHand("undo"),
		"or try the step that failed again, and go on: pipeline unlock --resume, or on the host: " + r.byHand("resume"),
		"the backups of the sites: " + r.at.backup(r.id) + " on the host",
	}
	return f
}

// interrupted is a run whose process ended before its end, and that did not go
// on by itself.
func (r *session) interrupted() error {
	f := r.failed(NeedsPerson, "not known: the run ended before its end, by a restart of the host or because its process was killed, and has not gone on")
	f.Step = stepName(r.journal.Current())
	f.Exit = 0
	f.Next = []string{
		"to carry on: pipeline unlock --resume, or on the host: " + r.byHand("resume"),
		"to go back: pipeline unlock --undo, or on the host: " + r.byHand("undo"),
	}
	return f
}

// unknown is a run that goes on without being watched.
func (r *session) unknown(ctx context.Context, err error) error {
	f := r.failed(NeedsPerson, "the host carries on by itself, and finishes or puts everything back")
	f.Step, f.Exit, f.Detail = "", 0, ""
	f.Err = err
	if ctx.Err() != nil {
		f.Err = errors.New("no longer watched, by request")
	}
	f.Next = []string{"see what became of it: pipeline status, or on the host: " + r.byHand("status")}
	return f
}
