package progress

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// golden holds a text against a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
	}
}

// at is a moment, in seconds after a fixed one.
func at(seconds float64) time.Time {
	return time.Date(2024, 3, 20, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

func began(stage string, seconds float64, needs ...string) Event {
	return Event{Stage: stage, Kind: Began, At: at(seconds), Needs: needs}
}

func ended(stage string, seconds float64) Event {
	return Event{Stage: stage, Kind: Ended, At: at(seconds)}
}

func fromCache(stage string, seconds float64) Event {
	return Event{Stage: stage, Kind: Ended, At: at(seconds), Cached: true}
}

func failing(stage string, seconds float64, err error) Event {
	return Event{Stage: stage, Kind: Ended, At: at(seconds), Err: err}
}

func line(stage string, seconds float64, text string) Event {
	return Event{Stage: stage, Kind: Line, At: at(seconds), Text: text}
}

func timeline(events ...Event) *Timeline {
	t := &Timeline{Title: "Release 15.33.0"}
	for _, e := range events {
		t.Add(e)
	}
	return t
}

// release is the build of a release in which one app has changed.
var release = []Event{
	began("base", 0), began("tools", 0),
	began("source frappe", 0.2), began("source erpnext", 0.2), began("source hrms", 0.2),
	fromCache("base", 0.4), fromCache("tools", 0.5),
	fromCache("source frappe", 0.9), fromCache("source erpnext", 1),
	ended("source hrms", 3.4),
	began("packages", 3.4, "source frappe", "source erpnext", "source hrms"),
	ended("packages", 9.8),
	began("modules frappe", 3.4, "tools", "source frappe"), began("modules erpnext", 3.4, "tools", "source erpnext"),
	began("modules hrms", 3.4, "tools", "source hrms"),
	fromCache("modules frappe", 3.9), fromCache("modules erpnext", 4.1),
	line("modules hrms", 9, "[3/4] Linking dependencies..."),
	ended("modules hrms", 52.7),
	began("environment", 9.8, "tools", "packages"), ended("environment", 31.1),
	began("bench", 31.5, "environment", "base"), ended("bench", 34),
	began("assets", 53.1, "tools", "modules frappe", "modules erpnext", "modules hrms"), ended("assets", 118.4),
	began("image", 118.4, "base", "environment", "bench", "assets"), ended("image", 124.2),
	began("push", 124.6, "image"), ended("push", 131.9),
}

func TestCriticalPath(t *testing.T) {
	for name, test := range map[string]struct {
		events []Event
		want   []string
	}{
		"nothing":   {nil, nil},
		"one stage": {[]Event{began("a", 0), ended("a", 1)}, []string{"a"}},
		"the need that ended last": {[]Event{
			began("short", 0), ended("short", 1), began("long", 0), ended("long", 5),
			began("both", 5, "short", "long"), ended("both", 6),
		}, []string{"long", "both"}},
		"not the longest but the last": {[]Event{
			began("long", 0), ended("long", 5), began("late", 4), ended("late", 6),
			began("both", 6, "long", "late"), ended("both", 7),
		}, []string{"late", "both"}},
		"the end is the stage that ended last": {[]Event{
			began("a", 0), ended("a", 1), began("b", 1, "a"), ended("b", 9), began("c", 1, "a"), ended("c", 2),
		}, []string{"a", "b"}},
		"of two that ended together, the first need": {[]Event{
			began("x", 0), ended("x", 2), began("y", 0), ended("y", 2), began("z", 2, "y", "x"), ended("z", 3),
		}, []string{"y", "z"}},
		"unknown need": {[]Event{began("a", 0, "ghost"), ended("a", 1)}, []string{"a"}},
		"circle": {[]Event{
			began("a", 0, "b"), ended("a", 1), began("b", 0, "a"), ended("b", 2),
		}, []string{"a", "b"}},
		"needs itself": {[]Event{began("a", 0, "a"), ended("a", 1)}, []string{"a"}},
		"still running": {[]Event{
			began("a", 0), ended("a", 1), began("b", 1, "a"), began("c", 1), ended("c", 2), line("b", 3, "going on"),
		}, []string{"a", "b"}},
		"the failed one, not those that it stopped": {[]Event{
			began("a", 0), failing("a", 3, context.Canceled), began("b", 0), failing("b", 2, errors.New("exit 1")),
			began("c", 0), failing("c", 4, context.Canceled),
		}, []string{"b"}},
		"all stopped": {[]Event{
			began("a", 0), failing("a", 3, context.Canceled), began("b", 0), failing("b", 2, context.Canceled),
		}, []string{"a"}},
		"ended without having begun": {[]Event{ended("a", 1), ended("b", 2)}, []string{"b"}},
		"events out of order": {[]Event{
			began("b", 1, "a"), ended("b", 2), began("a", 0), ended("a", 1),
		}, []string{"a", "b"}},
		"release": {release, []string{"source hrms", "modules hrms", "assets", "image", "push"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := timeline(test.events...).CriticalPath(); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestRows(t *testing.T) {
	broken := errors.New("exit 3")
	got := timeline(
		began("b", 2, "a"), failing("b", 3.5, broken), began("a", 0), fromCache("a", 2),
		line("ghost", 9, "a line of no stage"),
	).Rows()
	want := []Row{
		{Stage: "a", Took: 2 * time.Second, Cached: true, Critical: true},
		{Stage: "b", Start: 2 * time.Second, Took: 1500 * time.Millisecond, Err: broken, Critical: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTable(t *testing.T) {
	if got := timeline().Table(); got != "" {
		t.Errorf("without stages it is %q", got)
	}
	golden(t, "table.md", timeline(release...).Table())
	// Nothing breaks out of its cell.
	odd := timeline(began("a|b\n<i>*c*", 0), failing("a|b\n<i>*c*", 1, errors.New("no")))
	odd.Hide = func(s string) string { return strings.ReplaceAll(s, "c", "***") }
	if got, want := odd.Table(), `| **a\|b &lt;i>\*\*\*\*\*** | 1.0s | failed |`; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant the line\n%s", got, want)
	}
}

func TestPage(t *testing.T) {
	// What is hidden must be so before it is escaped.
	hide := func(s string) string { return strings.ReplaceAll(s, "a&b", "***") }
	for name, test := range map[string]*Timeline{
		"release.html": timeline(release...),
		"failed.html": {Title: `Release <script>alert(1)</script>`, Hide: hide, stages: timeline(
			began("base", 0), fromCache("base", 0.3),
			began(`"><img src=x onerror=alert(1)> a&b`, 0.3, "base"),
			failing(`"><img src=x onerror=alert(1)> a&b`, 4, fmt.Errorf("\n\x1b[31mexit 1\x1b[0m: </p><b>a&b\u202e\nmore")),
			began("modules", 0.3, "base"), failing("modules", 4.2, fmt.Errorf("build modules: %w", context.Canceled)),
			began("assets", 0.3, "base"),
		).stages, latest: at(4.2)},
		"empty.html": {},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := test.WriteHTML(&b); err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"<script", "<img", "</p><b>", "a&amp;b", "a&b", "\x1b", "\u202e", "ZgotmplZ", "http:", "https:"} {
				if strings.Contains(b.String(), bad) {
					t.Errorf("page holds %q", bad)
				}
			}
			golden(t, name, b.String())
		})
	}
}

func TestPageTellsOfABrokenWriter(t *testing.T) {
	err := timeline(release...).WriteHTML(broken{})
	if err == nil || err.Error() != "write timeline: disk full" {
		t.Errorf("error is %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestTicks(t *testing.T) {
	for name, test := range map[string]struct {
		total time.Duration
		want  string
	}{
		"nothing":          {0, ""},
		"less than a tick": {50 * time.Millisecond, "0s"},
		"half a second":    {550 * time.Millisecond, "0s 0.1s 0.2s 0.3s 0.4s 0.5s"},
		"seconds":          {7 * time.Second, "0s 1s 2s 3s 4s 5s 6s 7s"},
		"a minute":         {time.Minute, "0s 10s 20s 30s 40s 50s 60s"},
		"minutes":          {131900 * time.Millisecond, "0:00 0:30 1:00 1:30 2:00"},
		"a day":            {9 * time.Hour, "0:00 60:00 120:00 180:00 240:00 300:00 360:00 420:00 480:00 540:00"},
	} {
		t.Run(name, func(t *testing.T) {
			var labels []string
			for _, tick := range ticks(test.total) {
				labels = append(labels, tick.Label)
			}
			if got := strings.Join(labels, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTook(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0.0s": -time.Second, "0.1s": 50 * time.Millisecond, "12.3s": 12340 * time.Millisecond,
		"99.9s": 99940 * time.Millisecond, "1m40s": 99960 * time.Millisecond, "2m00s": 119700 * time.Millisecond,
		"61m01s": 61*time.Minute + time.Second,
	} {
		if got := took(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}

func TestTimelineTakesManyAtOnce(t *testing.T) {
	var all Timeline
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name := fmt.Sprint("stage ", i)
			all.Add(began(name, 0))
			all.Add(line(name, 1, "text"))
			_ = all.Table()
			all.Add(ended(name, 2))
		})
	}
	group.Wait()
	if got := len(all.Rows()); got != 8 {
		t.Errorf("there are %d stages, want 8", got)
	}
}
