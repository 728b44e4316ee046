package setup

import (
	"context"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// startWithHost has systemd start Docker and the SSH server when the host starts.
func startWithHost(f Facts, _ Options) finding {
	missing := &problem.Problem{Code: "setup.start", Subject: "start of the host"}
	if !f.is("systemd") {
		missing.Detail = "systemd does not run, so it can't be seen whether Docker and SSH come back after a restart"
		missing.Remedy = "see to that on the host; a restart shows it"
		return finding{missing: missing}
	}
	if f.is("systemd-mute") {
		return finding{}
	}
	var units []string
	if !slices.Contains(f.starts, "docker.service") {
		units = append(units, "docker.service")
	}
	// Where a socket starts SSH, its service does not start by itself.
	if !slices.Contains(f.starts, "ssh.service") && !slices.Contains(f.starts, "ssh.socket") {
		units = append(units, "ssh.service")
	}
	if len(units) == 0 {
		return finding{has: "Docker and SSH start with the host"}
	}
	names := strings.Join(units, ", ")
	missing.Detail, missing.Remedy = "systemd does not start "+names, "pipeline setup has it do so"
	found := finding{missing: missing, does: "enable " + names, act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "boot", "", units...)
		return err
	}}
	if !f.is("dockerd") && len(units) == 1 && units[0] == "docker.service" {
		found.does = "enable docker.service, when it is installed"
	}
	return found
}

const codeResume = "setup.resume"

// ResumeProblem says that nothing wakes a run after a restart of the host.
func ResumeProblem() problem.Problem {
	return problem.Problem{Code: codeResume, Subject: "runs on the host",
		Detail: "neither systemd nor cron wakes them, so they don't go on by themselves after a restart",
		Remedy: "pipeline setup lets the user's units run without a login (loginctl enable-linger), or installs cron"}
}

// resume has something wake a run after a restart of the host, as the runner of a run
// wants it: systemd, for another user than root where its units run without a login,
// or cron.
func resume(f Facts, o Options) finding {
	const subject = " wakes a run after a restart of the host"
	var way, does string
	var packages []string
	switch {
	case f.is("systemd") && (o.User == "root" || f.is("lingers")):
		return finding{has: "systemd" + subject}
	case f.is("systemd"):
		way, does = "linger", "let the units of "+o.User+" run without a login (linger)"
		if !f.is("logind") {
			packages = []string{"dbus", "libpam-systemd"}
			does = "install dbus and libpam-systemd, and " + does
		}
	case f.is("crontab") && f.is("cron"):
		return finding{has: "cron" + subject}
	default:
		way, does = "cron", "install cron and start it"
		packages = []string{"cron"}
	}
	p := ResumeProblem()
	return finding{missing: &p, does: does, act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "wake", "", append([]string{o.User, way}, packages...)...)
		return err
	}}
}
