package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// Live is what commands that work with the live release go by. It is a small
// part of what [Inspect] finds out, in a fraction of the time: the user waits
// for each of these commands.
type Live struct {
	// Project is that of the release, with its recorded set; where no release
	// is on record it has the name alone.
	Project compose.Project
	// Digest is that of the release's image; empty where there is none.
	Digest string
	// Containers are those of the project, running or not.
	Containers []compose.Container
}

// FindLive returns the live release. It changes nothing.
func FindLive(ctx context.Context, h Host, t Target) (Live, error) {
	if report := t.validate(); len(report) > 0 {
		return Live{}, report.Err()
	}
	result, err := h.Run(ctx, script(liveScript, t.Dir, t.Project), host.Options{})
	if err != nil {
		return Live{}, fmt.Errorf("look for the live release: %w", err)
	}
	live := Live{Project: compose.Project{Name: t.Project}}
	record, containers, _ := strings.Cut(result.Stdout, "@containers\n")
	if strings.TrimSpace(record) != "" {
		var r release.Record
		// One that is not whole says nothing: then the project's name alone counts.
		if err := json.Unmarshal([]byte(record), &r); err == nil && r.Project != "" {
			live.Project = compose.Project{Name: r.Project, Dir: path.Join(t.Dir, "current"), Files: r.ComposeFiles}
			live.Digest = r.Image.Digest
		}
	}
	live.Containers, err = compose.ParsePS(containers)
	return live, err
}

// Container returns the container in which commands of a service run.
func (l Live) Container(service string) (compose.Container, bool) {
	return compose.Live(l.Containers, service, l.Digest)
}
