package cli

import (
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
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
}

func (c *cli) watch(title string) *watcher {
	w := &watcher{cli: c, timeline: &progress.Timeline{Title: title, Hide: c.hidden}, began: map[string]time.Time{}}
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
	if w.screen != nil && !image.Stamp.MatchString(line) {
		w.screen.Add(progress.Event{Stage: stage, Kind: progress.Line, At: time.Now(), Text: line})
	}
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
