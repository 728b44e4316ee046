package compose

import "strings"

// Live returns the container that commands of a service run in. While a new
// release comes up beside the old one a service has two: the one with the
// image of the release that is live, known by its digest, goes before others,
// and a healthy one before one that is not yet. Which number a container has
// says nothing: after such a release the only one may be the second.
func Live(containers []Container, service, digest string) (Container, bool) {
	var best Container
	most := 0
	for _, c := range containers {
		if c.Service != service || c.State != "running" {
			continue
		}
		merit := 1
		if digest != "" && strings.HasSuffix(c.Image, "@"+digest) {
			merit += 2
		}
		if c.OK() {
			merit++
		}
		if merit > most {
			best, most = c, merit
		}
	}
	return best, most > 0
}

// Exec returns the command that runs another one in this very container. It reads standard input up to
// its end.
func (c Container) Exec(command ...string) []string {
	return append([]string{"docker", "exec", "--interactive", c.Name}, command...)
}

// ExecOnTerminal returns the command that runs another one in this very container, attached to the
// terminal that it is called from. kind is what TERM is to say.
func (c Container) ExecOnTerminal(kind string, command ...string) []string {
	return append([]string{"docker", "exec", "--interactive", "--tty", "--env", "TERM=" + kind, c.Name}, command...)
}

// Reading says what to print of logs.
type Reading struct {
	// Follow goes on with what is logged from now on.
	Follow bool
	// Tail is how many of the last lines of each container, or "all".
	Tail string
	// Since is a time or an age in Docker's notation; empty for all.
	Since string
}

// Read returns the command that prints the logs of some services, or of all
// where none is named.
func (p Project) Read(r Reading, services ...string) []string {
	argv := p.Command("logs", "--no-color", "--tail="+r.Tail)
	if r.Since != "" {
		argv = append(argv, "--since="+r.Since)
	}
	if r.Follow {
		argv = append(argv, "--follow")
	}
	return append(append(argv, "--"), services...)
}
