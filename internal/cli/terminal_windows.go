package cli

import "os"

// notifyResize does nothing: Windows has no signal for it, so a shell keeps the
// size that it began with.
func notifyResize(chan<- os.Signal) {}
