package apps

import "time"

// SetFirstWait has a test wait shorter between attempts.
func SetFirstWait(g *Git, wait time.Duration) { g.firstWait = wait }
