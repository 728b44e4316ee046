package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestApprove(t *testing.T) {
	for name, test := range map[string]struct {
		yes, terminal bool
		answer        string
		want          error
	}{
		"--yes":               {yes: true},
		"without a terminal":  {want: errUsage},
		"yes":                 {terminal: true, answer: "Yes\n"},
		"y":                   {terminal: true, answer: "y\n"},
		"no":                  {terminal: true, answer: "no\n", want: errDeclined},
		"an empty line":       {terminal: true, answer: "\n", want: errDeclined},
		"the end of the file": {terminal: true, want: errDeclined},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCLI(nil, strings.NewReader(test.answer), io.Discard, io.Discard)
			c.terminal = test.terminal
			if err := c.approve(t.Context(), yesFlag{test.yes}, "Release 1.0.0?"); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// Ctrl-C ends a question that nobody answers.
func TestApproveEndsWithContext(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	c := newCLI(nil, in, io.Discard, io.Discard)
	c.terminal = true
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := c.approve(ctx, yesFlag{}, "Release 1.0.0?"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
