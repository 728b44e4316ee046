package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/progress"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
)

// The steps of a deploy are on the screen while they run and in the timeline after what
// was built; without a screen they are logged.
func TestObserveDeploy(t *testing.T) {
	for name, onScreen := range map[string]bool{"terminal": true, "log": false} {
		t.Run(name, func(t *testing.T) {
			var logged, drawn bytes.Buffer
			c := newCLI(nil, strings.NewReader(""), &bytes.Buffer{}, &logged)
			w := c.watch("Deploy of 1.2.3")
			if onScreen {
				w.screen = progress.NewScreen(progress.Terminal{Out: &drawn, Ticks: make(chan time.Time), Size: func() (int, int) { return 100, 20 }})
			}
			w.observe(progress.Event{Stage: "smoke test", Kind: progress.Began, At: time.Now()})
			w.line("smoke test", "smoke-test: the site answers 1700000000.5")
			w.observeDeploy(deploy.Event{Kind: deploy.StepBegan, Step: deploy.AwaitSmokeTest})
			w.observe(progress.Event{Stage: "smoke test", Kind: progress.Ended, At: time.Now()})
			for _, e := range []deploy.Event{
				{Kind: deploy.StepEnded, Step: deploy.AwaitSmokeTest, Seconds: 1},
				{Kind: deploy.StepBegan, Step: "migrate"},
				{Kind: deploy.Output, Step: "migrate", Text: "Migrating erp.example.com"},
				{Kind: deploy.Disconnected, Text: "connection reset"},
				{Kind: deploy.StepEnded, Step: "migrate", Seconds: 12.5},
				{Kind: deploy.StepBegan, Step: "verify"},
				{Kind: deploy.StepEnded, Step: "verify", Seconds: 2, Exit: 1},
				{Kind: deploy.UndoBegan, Step: "migrate"},
				{Kind: deploy.UndoEnded, Step: "migrate", Seconds: 3},
			} {
				w.observeDeploy(e)
			}
			if onScreen {
				if err := w.screen.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var rows []string
			for _, row := range w.timeline.Rows() {
				rows = append(rows, row.Stage)
				if row.Stage == "host migrate" && row.Took != 12500*time.Millisecond || row.Stage == "host verify" && row.Err == nil {
					t.Errorf("%+v", row)
				}
			}
			if got, want := strings.Join(rows, ", "), "smoke test, host await-smoke-test, host migrate, host verify, host undo migrate"; got != want {
				t.Errorf("the timeline has %s", got)
			}
			if got, want := strings.Join(w.timeline.CriticalPath(), ", "), "smoke test, host migrate"; !strings.HasPrefix(got, want) {
				t.Errorf("the critical path is %s", got)
			}
			text := drawn.String()
			for _, shown := range []string{"host migrate", "12.5s", "host undo migrate"} {
				if strings.Contains(text, shown) != onScreen {
					t.Errorf("on the screen is %q", text)
				}
			}
			for _, always := range []string{"lost the connection", "verify failed"} {
				if !strings.Contains(logged.String(), always) {
					t.Errorf("%q is not in the log\n%s", always, logged.String())
				}
			}
			if strings.Contains(logged.String(), `"migrate"`) == onScreen {
				t.Errorf("logged is\n%s", logged.String())
			}
		})
	}
}
