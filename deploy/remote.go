package deploy

import _ "embed"

// The scripts that the client runs on the host directly, each with a comment at
// its head that says what it does and what its arguments are. recordedScript
// has functions for those that read what is recorded there.
var (
	//go:embed steps/recorded.sh
	recordedScript string
	//go:embed remote/inspect.sh
	inspectScript string
	//go:embed remote/live.sh
	liveScript string
	//go:embed remote/records.sh
	recordsScript string
	//go:embed remote/pull.sh
	pullScript string
	//go:embed remote/discard.sh
	discardScript string
	//go:embed remote/progress.sh
	progressScript string
	//go:embed remote/run-state.sh
	runStateScript string
	//go:embed remote/start-state.sh
	startStateScript string
	//go:embed remote/await-runner.sh
	awaitRunnerScript string
	//go:embed remote/put-certificate.sh
	putCertificateScript string
	//go:embed remote/unlock.sh
	unlockScript string
)

// script returns the argument vector for a script and its arguments.
func script(text string, arguments ...string) []string {
	return append([]string{"sh", "-c", text, "sh"}, arguments...)
}
