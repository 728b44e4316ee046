package cli

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/ci/smoketest"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
)

// watcher shows a build while it runs: on a terminal as a screen that logs pass
// through, elsewhere as a line for every stage that ended. It keeps the timeline.
type watcher struct {
	cli      *cli
	timeline *progress.Timeline
	// screen is nil without a terminal.
	screen *progress.Screen
	// undo puts the streams back as they were; nil where that was done.
	undo func()

	observing sync.Mutex
	began     map[string]time.Time
	// before is what the next step of a deploy waited for.
	before []string
}

func (c *cli) watch(title string) *watcher {
	w := &watcher{cli: c, timeline: &progress.Timeline{Title: title, Hide: c.hidden}, began: map[string]time.Time{}, before: []string{"push"}}
	if !c.terminal {
		return w
	}
	w.screen = progress.NewScreen(progress.Terminal{
		Out: c.redactErr, Color: true, Hide: c.hidden,
		Size: func() (int, int) {
			columns, rows, _ := term.GetSize(int(c.console.Fd()))
			return columns, rows
		},
	})
	w.undo = c.redirect(w.screen.Writer())
	return w
}

// observe takes an event of the build.
func (w *watcher) observe(e progress.Event) {
	w.observing.Lock()
	defer w.observing.Unlock()
	w.timeline.Add(e)
	switch {
	case w.screen != nil:
		w.screen.Add(e)
	case e.Kind == progress.Began:
		w.began[e.Stage] = e.At
	case e.Kind == progress.Ended:
		w.logStage(e, w.began[e.Stage])
	}
}

// line takes a line that a stage printed.
func (w *watcher) line(stage, line string) {
	if check, found := smoketest.CheckIn(line); found {
		line = check
	}
	if w.screen != nil && !image.Stamp.MatchString(line) {
		w.screen.Add(progress.Event{Stage: stage, Kind: progress.Line, At: time.Now(), Text: line})
	}
}

// hostStage begins the names of stages that are steps on the host.
const hostStage = "host "

// observeDeploy takes an event of a deploy: its steps follow each other, and come after
// what was built.
func (w *watcher) observeDeploy(e deploy.Event) {
	stage := progress.Event{Stage: hostStage + e.Step, At: time.Now()}
	if e.Kind == deploy.UndoBegan || e.Kind == deploy.UndoEnded {
		stage.Stage = hostStage + "undo " + e.Step
	}
	w.observing.Lock()
	switch e.Kind {
	case deploy.StepBegan, deploy.UndoBegan:
		stage.Kind, stage.Needs = progress.Began, w.before
		if e.Step == deploy.AwaitSmokeTest {
			// What is waited for is the test, and not this step.
			w.before = append(w.before, smoketest.Stage, contentsStage)
		} else {
			w.before = []string{stage.Stage}
		}
		w.began[stage.Stage] = stage.At
	case deploy.StepEnded, deploy.UndoEnded:
		// By the host's clock: what a connection had missed comes all at once.
		stage.Kind, stage.At = progress.Ended, w.began[stage.Stage].Add(time.Duration(e.Seconds*float64(time.Second)))
		if e.Exit != 0 {
			stage.Err = fmt.Errorf("exit %d", e.Exit)
		}
	case deploy.Output:
		w.line(stage.Stage, e.Text)
	}
	if stage.Kind != 0 {
		w.timeline.Add(stage)
	}
	shown := stage.Kind != 0 && w.screen != nil
	if shown {
		w.screen.Add(stage)
	}
	w.observing.Unlock()
	if !shown || stage.Err != nil {
		w.cli.logDeploy(e)
	}
}

// write writes a page with the timeline, if one is wanted.
func (w *watcher) write(page string) error {
	if page == "" {
		return nil
	}
	file, err := os.Create(page)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return errors.Join(w.timeline.WriteHTML(file), file.Close())
}

func (w *watcher) logStage(e progress.Event, began time.Time) {
	event := w.cli.log.Info()
	if e.Err != nil {
		event = w.cli.log.Error()
	}
	event = event.Str("took", seconds(e.At.Sub(began)))
	if e.Cached {
		event = event.Bool("cached", true)
	}
	event.Msg(e.Stage)
}

// hide takes the screen off the terminal.
func (w *watcher) hide() {
	if w.undo != nil {
		_ = w.screen.Close()
		w.undo()
		w.undo = nil
	}
}
