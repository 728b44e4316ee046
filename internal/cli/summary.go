package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// summarize adds Markdown to the page of a workflow's run.
func (c *cli) summarize(markdown string) {
	if c.summary == "" {
		return
	}
	file, err := os.OpenFile(c.summary, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		c.log.Warn().Err(err).Msg("job summary was not written")
		return
	}
	defer file.Close()
	_, _ = io.WriteString(file, markdown+"\n")
}

// releaseSummary returns what the page of a workflow's run says about a release.
func releaseSummary(changes []deploy.AppChange, record release.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s is live\n\n`%s`\n\n| app | before | now |\n|---|---|---|\n", record.Version, record.Image)
	for _, change := range changes {
		before, after := "", ""
		if change.Old != nil {
			before = at(change.Old)
		}
		if change.New != nil {
			after = at(change.New)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", change.Name, before, after)
	}
	b.WriteString("\n| step | seconds |\n|---|---|\n")
	for _, step := range record.Steps {
		fmt.Fprintf(&b, "| %s | %.1f |\n", step.Name, step.Seconds)
	}
	fmt.Fprintf(&b, "\nDowntime: %.1f s\n", record.Downtime)
	for _, w := range record.Warnings {
		fmt.Fprintf(&b, "\n**Warning:** step %s failed with exit code %d after the release was live. %s\n", w.Step, w.Exit, w.Remedy)
	}
	for _, note := range record.Notes {
		fmt.Fprintf(&b, "\n> %s\n", note)
	}
	return b.String()
}
