package progress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/images"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/localengine/enginetest"
)

// recording is what a session printed for the execs of TestLinesOfEngine.
const recording = "session.txt"

// read returns the lines of a session's progress that came in parts.
func read(parts ...string) string {
	var b strings.Builder
	w := NewLines(func(stage, line string) { fmt.Fprintf(&b, "%s: %s\n", stage, line) })
	for _, part := range parts {
		_, _ = io.WriteString(w, part)
	}
	return b.String()
}

// TestLinesOfEngine reads what a real session prints, and records it with
// -update, unless -short is there as well.
func TestLinesOfEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("needs an engine")
	}
	e := enginetest.Start(t)

	var printed bytes.Buffer
	var mu sync.Mutex
	came := map[string]time.Time{}
	lines := NewLines(func(stage, line string) {
		mu.Lock()
		defer mu.Unlock()
		came[stage+": "+line] = time.Now()
	})
	client, err := e.Endpoint().Connect(context.Background(), io.MultiWriter(&printed, lines))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := images.Ensure(t.Context(), client, e.Mirror(), images.Set{"debian:bookworm-slim"}, enginetest.Log(t)); err != nil {
		t.Fatal(err)
	}

	base := client.Container().From("debian:bookworm-slim").WithEnvVariable("RUN", time.Now().Format(time.RFC3339Nano))
	run := func(stage, text string) (ended time.Time, err error) {
		_, err = base.WithExec([]string{"sh", "-euc", Marker(stage) + "\n" + text}).Stdout(t.Context())
		return time.Now(), err
	}
	// Side by side, and one of them talks all the time: the others must not
	// wait for it.
	var group errgroup.Group
	var assets time.Time
	group.Go(func() (err error) {
		assets, err = run("assets", "for i in 1 2 3 4 5 6; do echo \"line $i\"; sleep 1; done\n# it's done\n")
		return err
	})
	group.Go(func() error {
		_, err := run("modules hrms", "for i in $(seq 1 30); do echo \"[$i/30] Linking...\" >&2; sleep 0.2; done\n")
		return err
	})
	group.Go(func() error {
		_, err := run("environment", "printf ' 10%%\\r'; sleep 1; printf ' 50%%\\r'; sleep 1; printf '100%%'; sleep 1; echo ' done'\n")
		return err
	})
	group.Go(func() error {
		if _, err := run("bench", "echo about to fail; exit 3\n"); err == nil {
			return errors.New("exit code 3 is no error")
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	again := time.Now()
	if _, err := run("assets", "for i in 1 2 3 4 5 6; do echo \"line $i\"; sleep 1; done\n# it's done\n"); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}

	for _, want := range []string{
		"assets: line 1", "assets: line 6", "modules hrms: [1/30] Linking...", "modules hrms: [30/30] Linking...",
		"environment: 10%", "environment: 50%", "bench: about to fail",
	} {
		if came[want].IsZero() {
			t.Errorf("line %q did not come, but %q", want, came)
		}
	}
	if early := assets.Sub(came["assets: line 1"]); early < 4*time.Second {
		t.Errorf("the first of six lines, one a second, came %s before the end", early)
	}
	if last := came["assets: line 6"]; last.After(again) {
		t.Error("a cached exec printed its lines again")
	}
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", recording), printed.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLinesOfRecording(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", recording))
	if err != nil {
		t.Fatal(err)
	}
	whole := read(string(data))
	golden(t, "session.lines", whole)
	for _, size := range []int{1, 7, 4096} {
		var parts []string
		for part := range slices.Chunk(data, size) {
			parts = append(parts, string(part))
		}
		if got := read(parts...); got != whole {
			t.Errorf("in parts of %d bytes it is read as\n%s", size, got)
		}
	}
}

func TestLines(t *testing.T) {
	const heading = "\n▼ withExec sh -euc ': stage assets hrms\\nyarn build'\n"
	for name, test := range map[string]struct {
		progress, want string
	}{
		"nothing":        {"", ""},
		"a line":         {heading + "text\n", "assets hrms: text\n"},
		"at the start":   {heading[1:] + "text\n", "assets hrms: text\n"},
		"colours":        {"\n▼ \x1b[34mwithExec\x1b[0m sh -euc ': stage a\\nb'\n\x1b[1mbold\x1b[0m\n", "a: bold\n"},
		"only a marker":  {"\n▼ withExec sh -euc ': stage a'\ntext\n", "a: text\n"},
		"more arguments": {"\n▼ withExec sh -euc ': stage a\\nb' (expand: true)\ntext\n", "a: text\n"},
		"an exec without marker": {
			heading + "one\n\n▼ withExec git clone\nCloning\n" + heading + "two\n", "assets hrms: one\nassets hrms: two\n",
		},
		"something else":   {heading + "one\n\n▼ connecting to engine\nconnected\n", "assets hrms: one\n"},
		"dots":             {heading + "one\n\n▶ ..X\n\n✔ connect 0.0s\n", "assets hrms: one\n"},
		"a line drawn":     {heading + " 10%\r 20%\r\n", "assets hrms: 10%\nassets hrms: 20%\n"},
		"a line cut":       {heading + "half⏎\n\n▶ .\n", "assets hrms: half\n"},
		"empty lines":      {heading + "\n\none\n  \n\x1b[0m\ntwo\n", "assets hrms: one\nassets hrms: two\n"},
		"no heading":       {heading + "▼ withExec sh -euc ': stage b'\none\n", "assets hrms: ▼ withExec sh -euc ': stage b'\nassets hrms: one\n"},
		"not ended":        {heading + "one\ntw", "assets hrms: one\n"},
		"a very long line": {heading + strings.Repeat("x", 3*longest) + "\nshort\n", "assets hrms: " + strings.Repeat("x", longest) + "\nassets hrms: short\n"},
		"a long script":    {"\n▼ withExec sh -euc ': stage a\\n" + strings.Repeat("x", 2*longest) + "'\ntext\n", "a: text\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(test.progress); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
