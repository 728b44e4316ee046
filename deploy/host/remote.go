package host

import _ "embed"

// The scripts that this package runs on the host, each with a comment at its
// head that says what it does and what its arguments are. They are given to
// "sh -c" with their arguments, so nothing is pasted into them.
var (
	//go:embed remote/start-job.sh
	startJobScript string
	//go:embed remote/job-state.sh
	jobStateScript string
	//go:embed remote/follow.sh
	followScript string
	//go:embed remote/receive-tree.sh
	receiveTreeScript string
)

// Exit codes of these scripts, above those of the tools that they use.
const (
	exitExists = 45
	exitTorn   = 46
	exitMore   = 75
)

// script returns the argument vector for a script and its arguments.
func script(text string, args ...string) []string {
	return append([]string{"sh", "-c", text, "sh"}, args...)
}
