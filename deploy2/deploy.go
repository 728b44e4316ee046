// Package deploy puts an image live on a host: it looks at what is there,
// stages the release beside it, and has the host itself make the switch.
//
// On the host, below the target's folder:
//
//	releases/VERSION/   the compose set, .env (mode 0600), release.json;
//	                    the file "live" once it went live
//	current             a link to the release that is live
//	runs/ID/            the steps of one deploy, and its journal
//	lock                the deploy lock: one run at a time
//
// What happens before the site is touched happens over the connection and can
// be interrupted. From then on the host works by itself, through the steps of
// [Plan], and the connection only follows what it writes down.
package deploy

import (
	"context"
	"fmt"
	"net"
	"path"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// Target is where a release goes.
type Target struct {
	// Dir is the absolute path of the folder on the host.
	Dir string
	// Project is the compose project.
	Project string
	// Files are the compose files as they are on this machine, in compose's
	// order.
	Files []compose.File
	// Sites are the sites to migrate. The first is the one that the compose
	// set makes where there is none.
	Sites []string
	// Variables are the values for what the compose files refer to, beside
	// those that the pipeline supplies itself: IMAGE and INSTALL_APPS.
	Variables map[string]secret.Secret
	// HTTPPort is the port of the host on which the site answers.
	HTTPPort int
	// Source is where the host pulls the image from.
	Source Source
}

// Source is a registry as the host sees it.
type Source struct {
	// Prefix is put before the image's name, with a slash between, where the
	// host pulls through a forward: "127.0.0.1:5150".
	Prefix string
	// Dial connects to the registry that the forward leads to. It is nil where
	// the host reaches the registry by itself.
	Dial func(ctx context.Context) (net.Conn, error)
	// Host, Username and Password log the host's Docker in for the pull.
	Host     string
	Username string
	Password secret.Secret
}

// Dial opens a connection to the host. A deploy opens more than one where the
// first breaks.
type Dial func(ctx context.Context) (*host.Host, error)

// Event is something that happened in a deploy.
type Event struct {
	// Step is the step that it happened in.
	Step string
	// Kind says what happened.
	Kind EventKind
	// Seconds is how long the step took, for StepDone and StepFailed.
	Seconds float64
	// Line is a line that the step printed, for StepOutput.
	Line string
}

// EventKind is a kind of event.
type EventKind int

// The kinds of events.
const (
	StepBegan EventKind = iota
	StepOutput
	StepDone
	StepFailed
	StepUndone
)

// Deployer deploys to one host.
type Deployer struct {
	Dial Dial
	Log  zerolog.Logger
	// Observe is told what happens, from one goroutine at a time. It may be
	// nil.
	Observe func(Event)
}

func (d Deployer) observe(e Event) {
	if d.Observe != nil {
		d.Observe(e)
	}
}

// SiteState is the state that a failed deploy left the site in.
type SiteState int

// The states.
const (
	// Untouched means that nothing changed on the host.
	Untouched SiteState = iota
	// RolledBack means that the release before is live again.
	RolledBack
	// NeedsPerson means that the site is down or in maintenance mode, or that
	// nobody here knows.
	NeedsPerson
)

func (s SiteState) String() string {
	switch s {
	case RolledBack:
		return "as it was before: the host put everything back"
	case NeedsPerson:
		return "needs a person"
	default:
		return "as it was before: nothing was touched"
	}
}

// Failed is a deploy that did not succeed. Its text ends with the state of the
// site, what to do next and where the journal is.
type Failed struct {
	State SiteState
	// Step is the step that failed, if one did.
	Step string
	// Detail says what went wrong, with the last lines of output.
	Detail string
	// Next says what to do.
	Next string
	// Journal is the file on the host with what was done.
	Journal string
	Err     error
}

func (f *Failed) Error() string {
	text := "deploy failed"
	if f.Step != "" {
		text += " at " + f.Step
	}
	text += ": " + f.Detail + "\n  the site: " + f.State.String() + "\n  next: " + f.Next
	if f.Journal != "" {
		text += "\n  journal on the host: " + f.Journal
	}
	return text
}

// Unwrap gives the underlying error.
func (f *Failed) Unwrap() error { return f.Err }

// Paths on the host.
func (t Target) releases() string              { return path.Join(t.Dir, "releases") }
func (t Target) release(version string) string { return path.Join(t.releases(), version) }
func (t Target) current() string               { return path.Join(t.Dir, "current") }
func (t Target) run(id string) string          { return path.Join(t.Dir, "runs", id) }

const (
	recordFile = "release.json"
	// liveFile marks a release that went live: it holds the run that made it
	// so.
	liveFile = "live"
)

// pulled is the image's name without tag or digest, as the host knows it.
func (t Target) pulled(image release.Image) string {
	if t.Source.Prefix == "" {
		return image.Repository
	}
	return t.Source.Prefix + "/" + image.Repository
}

// pinned is what the compose set refers to: the image by its digest.
func (t Target) pinned(image release.Image) string { return t.pulled(image) + "@" + image.Digest }

// project is the compose project of a release on the host.
func (t Target) project(version string, files []string) compose.Project {
	return compose.Project{Name: t.Project, Dir: t.release(version), Files: files}
}

// limits of waiting.
const (
	// healthLimit is how long all containers may take to become healthy. A new
	// site is made in that time.
	healthLimit = 15 * time.Minute
	// verifyLimit is how long the proxy may take to find a healthy frontend.
	verifyLimit = time.Minute
	// reconnectLimit is how long a lost connection is tried to be had again.
	reconnectLimit = 10 * time.Minute
)

// runID names a run: its number, so that the order of runs depends on no
// clock, and its version.
func runID(number int, version string) string { return fmt.Sprintf("%04d-%s", number, version) }
