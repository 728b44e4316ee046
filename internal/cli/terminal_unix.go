//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyResize tells a channel when the terminal gets another size.
func notifyResize(changes chan<- os.Signal) { signal.Notify(changes, syscall.SIGWINCH) }
