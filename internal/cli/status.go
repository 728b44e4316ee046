package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/setup"
)

type statusOptions struct {
	*globalFlags
	jsonFlag
}

// newStatus returns the command that shows what runs on the host.
func newStatus(c *cli, global *globalFlags) *cobra.Command {
	o := statusOptions{globalFlags: global}
	cmd := &cobra.Command{
		Use: "status", Short: "what runs on the host", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.status(cmd.Context(), o) },
	}
	o.jsonFlag.register(cmd)
	return cmd
}

func (c *cli) status(ctx context.Context, o statusOptions) error {
	return c.onHost(ctx, o.globalFlags, func(h *host.Host, target deploy.Target) error {
		state, err := deploy.Inspect(ctx, h, target)
		if err != nil {
			return err
		}
		if o.json {
			return c.printJSON(state)
		}
		_, err = io.WriteString(c.out, renderState(state))
		return err
	})
}

// renderState returns what is on a host, as the user reads it.
func renderState(state deploy.State) string {
	var b strings.Builder
	if state.Docker == "" {
		fmt.Fprintf(&b, "Docker does not answer on the host: %s\n", state.DockerError)
		return b.String()
	}
	if state.Current == nil {
		b.WriteString("No release is live.\n")
	} else {
		b.WriteString(renderRecord(*state.Current))
	}
	if len(state.Containers) > 0 {
		b.WriteString("\n" + renderContainers(state.Containers))
	}
	b.WriteString("\n")
	if state.Lock != nil {
		fmt.Fprintf(&b, "The deploy lock is held by run %s (%s) since %s.\n", state.Lock.Run, state.Lock.Status, state.Lock.Since.UTC().Format(time.RFC3339))
	} else {
		b.WriteString("The deploy lock is free.\n")
	}
	if state.LastRun != nil {
		b.WriteString(renderRun(*state.LastRun))
	}
	for _, run := range state.OnlyCopies {
		fmt.Fprintf(&b, "backups/%s on the host holds the only copy of what was written before other data took its place; pipeline prune --only-copies removes it when no rollback needs it.\n", run)
	}
	for _, warning := range hostWarnings(state) {
		b.WriteString(warning + "\n")
	}
	return b.String()
}

// hostWarnings returns what is wrong on a host without being in the way of
// anything, as sentences.
func hostWarnings(state deploy.State) []string {
	var warnings []string
	if state.NoWaker {
		p := setup.ResumeProblem()
		text := p.Error() + ". " + p.Remedy + "."
		warnings = append(warnings, strings.ToUpper(text[:1])+text[1:])
	}
	if len(state.Unreadable) > 0 {
		warnings = append(warnings, "These files on the host can't be read, as after a power cut: "+strings.Join(state.Unreadable, ", ")+". The rest is read without them.")
	}
	return warnings
}

// renderContainers returns a table of containers with their health.
func renderContainers(containers []compose.Container) string {
	var b strings.Builder
	table := newTable(&b)
	for _, container := range containers {
		mark := "✓"
		switch {
		case container.State == "running" && container.Health == "starting":
			mark = "…"
		case !container.OK():
			mark = "✗"
		}
		fmt.Fprintf(table, "%s %s\t%s\t%s\n", mark, container.Service, container.State, container.Health)
	}
	_ = table.Flush()
	return b.String()
}

// renderRun returns how far a run has come, and what can be done about it.
func renderRun(run deploy.RunState) string {
	text := fmt.Sprintf("Last run: %s, %s", run.ID, run.Status)
	switch {
	case run.Undoing:
		text += fmt.Sprintf(" (putting back: %s)", run.Step)
	case run.Step != "":
		text += fmt.Sprintf(" (at %s)", run.Step)
	}
	text += ".\n"
	switch run.Status {
	case deploy.RunInterrupted:
		verbs := "pipeline unlock --resume or --undo does so at once.\n"
		if run.Settled {
			verbs = "pipeline unlock --resume does so at once; its release is live.\n"
		}
		text += "Its process is gone; the host goes on with it within a minute. " + verbs
	case deploy.RunHeld:
		text += "It waits for the operator: when the cause is gone, pipeline unlock --undo puts everything back, and pipeline unlock --resume carries on.\n"
	}
	return text
}
