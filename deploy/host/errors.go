package host

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

var (
	// ErrOutcomeUnknown says that a command was given to the host, but not
	// how it ended: the connection broke, or the caller stopped waiting. It
	// may have done its work, or part of it, or be at it still; only the host
	// knows.
	ErrOutcomeUnknown = errors.New("outcome unknown, ask the host")
	// ErrExists says that something is already in the place where something
	// new was to be put. Nothing was changed.
	ErrExists = errors.New("exists already")
)

// RunError says that a command ran and ended other than with exit code 0.
type RunError struct {
	// Command is the command line as the host's shell got it; it can be
	// pasted into a terminal there.
	Command string
	// Exit is its exit code; 128 and more for a signal.
	Exit int
	// Signal is the name of the signal that ended it, without SIG; empty for
	// none.
	Signal string
	// Stderr is the end of what it wrote to standard error.
	Stderr string
}

func (e *RunError) Error() string {
	var b strings.Builder
	b.WriteString(brief(e.Command))
	if e.Signal != "" {
		fmt.Fprintf(&b, ": ended by signal %s", e.Signal)
	} else {
		fmt.Fprintf(&b, ": exit code %d", e.Exit)
	}
	if text := strings.TrimSpace(e.Stderr); text != "" {
		b.WriteString(": ")
		b.WriteString(text)
	}
	return b.String()
}

// brief keeps a command readable within a sentence.
func brief(command string) string {
	line, rest, _ := strings.Cut(command, "\n")
	if len(line) > 160 {
		line, rest = strings.ToValidUTF8(line[:160], ""), "more"
	}
	if rest != "" {
		line += " …"
	}
	return line
}

// UnknownHostKeyError says that known_hosts has nothing about a host. The
// connection was closed before anything was authenticated.
type UnknownHostKeyError struct {
	// Address is the host, as name:port.
	Address string
	// Type and Fingerprint are those of the key that the host showed; the
	// fingerprint is the SHA-256 one, as ssh-keygen -l prints it.
	Type, Fingerprint string
	// Sources are the files that were searched.
	Sources []string
}

func (e *UnknownHostKeyError) Error() string {
	return fmt.Sprintf("host key of %s is not known: it shows %s %s, and %s has no entry for it",
		e.Address, e.Type, e.Fingerprint, strings.Join(e.Sources, ", "))
}

func (e *UnknownHostKeyError) problem() problem.Problem {
	name, port, _ := net.SplitHostPort(e.Address)
	file := "known_hosts"
	if len(e.Sources) > 0 {
		file = e.Sources[0]
	}
	scan := Quote([]string{"ssh-keyscan", "-p", port, name})
	return problem.Problem{
		Code: "host.key-unknown", Subject: e.Address, Err: e,
		Detail: fmt.Sprintf("its host key is not known: it shows %s %s, and %s has no entry for it",
			e.Type, e.Fingerprint, strings.Join(e.Sources, ", ")),
		Remedy: fmt.Sprintf("compare the fingerprint with the one on the host's own console (ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub); if it is the same: %s >> %s", scan, Quote([]string{file})),
	}
}

// KnownKey is a host key in known_hosts.
type KnownKey struct {
	// Type and Fingerprint describe the key, as in [UnknownHostKeyError].
	Type, Fingerprint string
	// Place is its file and line.
	Place string
	// Marker is "@cert-authority", "@revoked" or empty.
	Marker string
}

func (k KnownKey) String() string {
	text := fmt.Sprintf("%s %s (%s)", k.Type, k.Fingerprint, k.Place)
	if k.Marker != "" {
		text = k.Marker + " " + text
	}
	return text
}

// KeyMismatchError says that a host showed another key than the ones
// known for it, or one that was revoked. The connection was closed before
// anything was authenticated.
type KeyMismatchError struct {
	// Address is the host, as name:port.
	Address string
	// Type and Fingerprint are those of the key that the host showed.
	Type, Fingerprint string
	// Known are the keys known for it; the revoked one if it was revoked.
	Known []KnownKey
	// Reason is set where there is more to say than that they differ.
	Reason string
}

func (e *KeyMismatchError) detail() string {
	known := make([]string, len(e.Known))
	for i, k := range e.Known {
		known[i] = k.String()
	}
	text := fmt.Sprintf("it shows %s %s, known is %s", e.Type, e.Fingerprint, strings.Join(known, ", "))
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func (e *KeyMismatchError) Error() string {
	return fmt.Sprintf("host key of %s is not the known one: %s", e.Address, e.detail())
}

func (e *KeyMismatchError) problem() problem.Problem {
	p := problem.Problem{Code: "host.key-mismatch", Subject: e.Address, Err: e, Detail: "its host key is not the known one: " + e.detail()}
	if slices.ContainsFunc(e.Known, func(k KnownKey) bool { return k.Marker == "@revoked" }) {
		p.Code = "host.key-revoked"
		p.Remedy = "do not connect: the owner of the host has to make a new host key"
		return p
	}
	places := make([]string, len(e.Known))
	for i, k := range e.Known {
		places[i] = k.Place
	}
	name, port, _ := net.SplitHostPort(e.Address)
	p.Remedy = fmt.Sprintf("someone may be listening in. Ask the owner of the host whether its key was changed and compare the fingerprint on the host's own console; only then replace %s by what %s prints",
		strings.Join(places, ", "), Quote([]string{"ssh-keyscan", "-p", port, name}))
	return p
}

// Problems returns what is wrong in terms of something that can be done about
// it, for any error of this package. It is empty for nil.
func Problems(err error) problem.Report {
	if err == nil {
		return nil
	}
	var several *problem.Error
	if errors.As(err, &several) {
		return several.Report
	}
	var one problem.Problem
	if errors.As(err, &one) {
		return problem.Report{one}
	}
	return problem.Report{{Code: "host.failed", Subject: "host", Detail: err.Error(), Err: err}}
}
