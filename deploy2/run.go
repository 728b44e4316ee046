package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/bench"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Run carries a plan out for a pushed image, and gives the record of the
// release. The error is a [*Failed], or what ended the context before anything
// was touched.
func (d Deployer) Run(ctx context.Context, p Plan, image release.Image) (release.Record, error) {
	record := release.Record{
		Version: p.Version, Image: image, Lock: p.Lock, Project: p.Target.Project,
		ComposeFiles: p.files(), Sites: p.Target.Sites, Strategy: "cycle", StartedAt: time.Now().UTC(), Run: p.Run,
	}
	if p.State.Current != nil {
		record.Previous = p.State.Current.Version
	}
	h, err := d.Dial(ctx)
	if err != nil {
		return record, untouched("connect", err)
	}
	defer func() { _ = h.Close() }()

	// Nothing of this touches the site, and all of it can be interrupted.
	for _, part := range []struct {
		name string
		do   func(context.Context, *host.Host, Plan, release.Record) error
	}{{"stage", d.stage}, {"pull", d.pull}, {"prepare", d.prepare}} {
		start := time.Now()
		d.observe(Event{Step: part.name, Kind: StepBegan})
		err := part.do(ctx, h, p, record)
		took := time.Since(start).Seconds()
		if err != nil {
			d.observe(Event{Step: part.name, Kind: StepFailed, Seconds: took})
			if ctx.Err() != nil {
				return record, ctx.Err()
			}
			return record, untouched(part.name, err)
		}
		d.observe(Event{Step: part.name, Kind: StepDone, Seconds: took})
		record.Steps = append(record.Steps, release.Step{Name: part.name, Seconds: took})
	}

	probe := startProbe(d.Dial, p, d.Log)
	defer probe.stop()
	journal, output, h, err := d.switchOver(ctx, h, p)
	if err != nil {
		return record, err
	}
	for _, took := range journal.Took() {
		record.Steps = append(record.Steps, release.Step{Name: stepName(took.Step), Seconds: took.Seconds})
	}
	if outcome := journal.Outcome(); outcome != runner.Done {
		return record, p.failed(outcome, journal, output)
	}

	// From outside, over a connection of its own: what a visitor gets.
	for _, site := range p.Target.Sites {
		if err := fromOutside(ctx, h, p.Target.HTTPPort, site); err != nil {
			return record, &Failed{
				State: NeedsPerson, Step: "verify from outside", Detail: err.Error(), Err: err,
				Next:    fmt.Sprintf("the release is live and answers inside the compose network; see who else listens on port %d of the host, and its firewall", p.Target.HTTPPort),
				Journal: p.journal(),
			}
		}
	}
	if record.Previous != "" {
		record.Downtime = probe.stop().Seconds()
	}
	record.FinishedAt = time.Now().UTC()
	if err := writeRecord(ctx, h, p.Target, record); err != nil {
		d.Log.Warn().Err(err).Msg("the release is live, but its record has neither times nor downtime")
	}
	return record, nil
}

// untouched is a failure before anything that matters was touched.
func untouched(step string, err error) error {
	return &Failed{State: Untouched, Step: step, Detail: err.Error(), Next: "correct that and release again", Err: err}
}

func (p Plan) journal() string { return path.Join(p.Target.run(p.Run), "journal") }

// stage puts the release's folder on the host. A folder of the same version
// that never went live is from an attempt that failed, and goes.
func (d Deployer) stage(ctx context.Context, h *host.Host, p Plan, record release.Record) error {
	dir := p.Target.release(p.Version)
	environment, err := p.environment(p.Target.pinned(record.Image))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	files := []host.File{{Name: compose.EnvFile, Mode: 0o600, Data: environment}, {Name: recordFile, Mode: 0o600, Data: append(text, '\n')}}
	for _, file := range p.Target.Files {
		files = append(files, host.File{Name: file.Name, Mode: 0o600, Data: file.Data})
	}
	if _, err := h.Run(ctx, []string{"sh", "-c", `[ -e "$1/live" ] || rm -rf -- "$1"`, "sh", dir}, host.Options{}); err != nil {
		return err
	}
	if err := h.UploadTree(ctx, dir, files); err != nil {
		return err
	}
	_, err = h.Run(ctx, p.Target.project(p.Version, p.files()).Config(), host.Options{})
	return err
}

// pull brings every image to the host, ours by its digest. What is there is
// not pulled again.
func (d Deployer) pull(ctx context.Context, h *host.Host, p Plan, record release.Record) error {
	source := p.Target.Source
	if source.Dial != nil {
		forward, err := h.Forward(ctx, source.Prefix, source.Dial)
		if err != nil {
			return err
		}
		defer forward.Close()
	}
	ours := p.Target.pinned(record.Image)
	if source.Password.IsSet() {
		// The login lives in a folder of its own and goes with it: a password
		// must not stay on the host.
		script := `set -eu
config=$(mktemp -d)
trap 'rm -rf -- "$config"' EXIT
docker --config "$config" login --username "$2" --password-stdin "$3" >/dev/null 2>&1 || { echo "the registry refuses the login" >&2; exit 1; }
docker --config "$config" pull --quiet "$1" </dev/null`
		_, err := h.Run(ctx, []string{"sh", "-c", script, "sh", ours, source.Username, source.Host},
			host.Options{Stdin: strings.NewReader(source.Password.Reveal())})
		if err != nil {
			return err
		}
	} else if _, err := h.Run(ctx, []string{"docker", "pull", "--quiet", ours}, host.Options{}); err != nil {
		return err
	}
	// The digest is what compose refers to; the name is for people.
	if _, err := h.Run(ctx, []string{"docker", "tag", ours, record.Image.Repository + ":" + p.Version}, host.Options{}); err != nil {
		return err
	}
	_, err := h.Run(ctx, p.Target.project(p.Version, p.files()).Pull(), host.Options{})
	return err
}

// prepare puts the run's folder on the host: a script for each step, and the
// program that carries them out.
func (d Deployer) prepare(ctx context.Context, h *host.Host, p Plan, _ release.Record) error {
	files := []host.File{{Name: runner.Name, Mode: 0o700, Data: runner.Script}}
	for i, s := range p.steps() {
		name := fmt.Sprintf("%02d-%s", (i+1)*10, s.name)
		files = append(files, host.File{Name: name + ".do", Mode: 0o600, Data: []byte(s.do)})
		if s.undo != "" {
			files = append(files, host.File{Name: name + ".undo", Mode: 0o600, Data: []byte(s.undo)})
		}
		if s.critical {
			files = append(files, host.File{Name: "critical", Mode: 0o600, Data: []byte(name + "\n")})
		}
	}
	return h.UploadTree(ctx, p.Target.run(p.Run), files)
}

// stepName is a step's name without its number.
func stepName(numbered string) string {
	_, name, found := strings.Cut(numbered, "-")
	if !found {
		return numbered
	}
	return name
}

// switchOver starts the run on the host and follows it to its end, over new
// connections where one breaks. It gives the journal, the last output, and the
// connection that it ended with.
func (d Deployer) switchOver(ctx context.Context, h *host.Host, p Plan) (runner.Journal, string, *host.Host, error) {
	dir := p.Target.run(p.Run)
	log := path.Join(dir, "log")
	followed := &follower{observe: d.observe}
	lost := time.Time{}
	var offset int64
	for started := false; ; {
		var err error
		if !started {
			_, err = h.StartDetached(ctx, runner.Command(dir, "start"), log)
			started = err == nil || errors.Is(err, host.ErrExists)
			if started {
				err = nil
			}
		}
		if err == nil {
			lost = time.Time{}
			var state host.JobState
			if offset, state, err = h.Follow(ctx, log, log, offset, followed); err == nil {
				text, err := h.ReadFile(ctx, path.Join(dir, "journal"))
				if err != nil {
					return nil, "", h, p.unknown(fmt.Errorf("the run ended (%s %d), but its journal can't be read: %w\n%s", state.Phase, state.Exit, err, followed.tail()))
				}
				journal, err := runner.ParseJournal(string(text))
				if err != nil {
					return nil, "", h, p.unknown(err)
				}
				return journal, followed.tail(), h, nil
			}
		}
		var refused *host.RunError
		if !started && errors.As(err, &refused) {
			return nil, "", h, untouched("start", err)
		}
		if ctx.Err() != nil {
			return nil, "", h, p.unknown(errors.New("interrupted here; the host carries on by itself"))
		}
		if lost.IsZero() {
			lost = time.Now()
			d.Log.Warn().Err(err).Msg("lost the connection; the host carries on by itself. Connecting again")
		}
		if time.Since(lost) > reconnectLimit {
			return nil, "", h, p.unknown(fmt.Errorf("no connection for %s: %w", reconnectLimit, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		if again, err := d.Dial(ctx); err == nil {
			_ = h.Close()
			h = again
		}
	}
}

// unknown is a run whose end nobody here has seen.
func (p Plan) unknown(err error) error {
	return &Failed{State: NeedsPerson, Detail: err.Error(), Err: err, Journal: p.journal(),
		Next: "pipeline status tells how it went; the host finishes or puts everything back by itself"}
}

// failed is a run that ended, but not well.
func (p Plan) failed(outcome runner.Outcome, journal runner.Journal, output string) error {
	step, exit := journal.Failed()
	f := &Failed{Step: stepName(step), Journal: p.journal(), Detail: fmt.Sprintf("exit %d\n%s", exit, output)}
	if strings.HasPrefix(f.Step, "migrate-") {
		if patch, found := bench.FailedPatch(output); found {
			f.Detail = fmt.Sprintf("patch %s failed\n%s", patch, output)
		}
	}
	switch {
	case outcome == runner.Undone && p.State.Current == nil:
		f.State, f.Next = RolledBack, "correct that and release again; nothing runs on the host"
	case outcome == runner.Undone:
		f.State, f.Next = RolledBack, "correct that and release again; "+p.State.Current.Version+" is live"
	default:
		f.State = NeedsPerson
		f.Next = "the site is in maintenance mode. On the host: sh " + path.Join(p.Target.run(p.Run), runner.Name) +
			" resume, to try the failed step again once its cause is gone"
	}
	return f
}

func writeRecord(ctx context.Context, h *host.Host, t Target, record release.Record) error {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	return h.Upload(ctx, path.Join(t.release(record.Version), recordFile), 0o600, bytes.NewReader(append(text, '\n')))
}

// follower reads what a run prints, a line at a time.
type follower struct {
	observe func(Event)
	rest    []byte
	step    string
	began   float64
	last    []string
}

var _ io.Writer = (*follower)(nil)

// tailLines is how much of a failed step's output is shown.
const tailLines = 25

func (f *follower) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		line, rest, found := bytes.Cut(f.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		f.line(strings.TrimRight(string(line), "\r"))
		f.rest = rest
	}
}

func (f *follower) line(line string) {
	entry, ok := runner.ParseLine(line)
	if !ok {
		if f.step == "" {
			return
		}
		f.last = append(f.last, line)
		f.last = f.last[max(0, len(f.last)-tailLines):]
		f.observe(Event{Step: f.step, Kind: StepOutput, Line: line})
		return
	}
	switch entry.Event {
	case runner.Begin:
		f.step, f.began, f.last = stepName(entry.Name), entry.Seconds, nil
		f.observe(Event{Step: f.step, Kind: StepBegan})
	case runner.End:
		kind := StepDone
		if entry.Exit != 0 {
			kind = StepFailed
		}
		f.observe(Event{Step: f.step, Kind: kind, Seconds: max(0, entry.Seconds-f.began)})
		f.step = ""
	case runner.UndoEnd:
		if entry.Exit == 0 {
			f.observe(Event{Step: stepName(entry.Name), Kind: StepUndone})
		}
	}
}

// tail is the end of the last step's output.
func (f *follower) tail() string { return strings.Join(f.last, "\n") }
