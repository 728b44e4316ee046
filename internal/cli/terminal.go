package cli

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/term"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// terminalOf returns the terminal that a stream is, or nil.
func terminalOf(stream any) *os.File {
	if file, ok := stream.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// onTerminal hands the program's own terminal to a command on the host, and
// takes it back as it was.
func (c *cli) onTerminal(keyboard *os.File, use func(*host.Terminal) error) error {
	size := func() host.Size {
		columns, rows, err := term.GetSize(int(c.screen.Fd()))
		if err != nil {
			return host.Size{Columns: 80, Rows: 24}
		}
		return host.Size{Columns: columns, Rows: rows}
	}
	changes := make(chan os.Signal, 1)
	notifyResize(changes)
	defer signal.Stop(changes)
	resized, done := make(chan host.Size), make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-changes:
			case <-done:
				return
			}
			select {
			case resized <- size():
			case <-done:
				return
			}
		}
	}()
	kind := c.getenv("TERM")
	if kind == "" {
		kind = "dumb"
	}
	before, err := term.MakeRaw(int(keyboard.Fd()))
	if err != nil {
		return fmt.Errorf("prepare the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(keyboard.Fd()), before) }()
	return use(&host.Terminal{Type: kind, Size: size(), Resized: resized})
}

// prompt writes for a user who waits for every letter: nothing that may be the
// beginning of a secret is held back.
type prompt struct{ *secret.Redactor }

// Write writes at once.
func (p prompt) Write(text []byte) (int, error) {
	n, err := p.Redactor.Write(text)
	if err == nil {
		err = p.Flush()
	}
	return n, err
}
