package host

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Terminal is what a command is attached to while a user works with it. On
// the host the command has a terminal of the same kind and size: what is typed
// is echoed by it, and Ctrl-C interrupts the command, not this program. So the
// terminal on this side has to be in raw mode.
type Terminal struct {
	// Type is what TERM says here, for instance "xterm-256color".
	Type string
	Size Size
	// Resized has the sizes that the terminal gets later; nil for none.
	Resized <-chan Size
}

// Size is the size of a terminal in characters.
type Size struct{ Columns, Rows int }

// modes of a terminal as users expect it: 38400 is what every
// implementation names, and nothing goes by it.
var modes = ssh.TerminalModes{ssh.ECHO: 1, ssh.TTY_OP_ISPEED: 38400, ssh.TTY_OP_OSPEED: 38400}

// attach asks for a terminal for a session whose command has not begun, and
// passes new sizes on until done is closed.
func (t *Terminal) attach(session *ssh.Session, done <-chan struct{}) error {
	if err := session.RequestPty(t.Type, t.Size.Rows, t.Size.Columns, modes); err != nil {
		if err.Error() == "ssh: pty-req failed" {
			return errors.New("the host gives no terminal (PermitTTY in its sshd_config)")
		}
		return fmt.Errorf("ask for a terminal: %w", err)
	}
	go func() {
		for {
			select {
			case size, more := <-t.Resized:
				if !more {
					return
				}
				// A lost one is not worth ending the command for.
				_ = session.WindowChange(size.Rows, size.Columns)
			case <-done:
				return
			}
		}
	}()
	return nil
}
