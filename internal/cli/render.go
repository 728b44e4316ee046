package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/ci/image"
	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// newTable returns a writer of columns, which are divided by tabs.
func newTable(b *strings.Builder) *tabwriter.Writer { return tabwriter.NewWriter(b, 0, 0, 2, ' ', 0) }

// renderPlan returns what a release changes, as the user reads it. packages are
// those of the release before, empty where there is none; plan is nil without a
// host.
func renderPlan(lock release.Lock, packages, host string, plan *deploy.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nRelease %s (Python %s, Node %s)\n\n", lock.SiteVersion, lock.Python, lock.Node)
	var changes []deploy.AppChange
	if plan != nil {
		changes = plan.Apps
	} else {
		for i := range lock.Apps {
			changes = append(changes, deploy.AppChange{Name: lock.Apps[i].Name, New: &lock.Apps[i]})
		}
	}
	b.WriteString(renderApps(changes))
	b.WriteString(renderPackages(packages, lock.Requirements))
	if plan == nil {
		b.WriteString("\nNo host is configured: the release ends with the image.\n\n")
		return b.String()
	}
	if plan.Migrate {
		b.WriteString("\nThe sites are migrated, whatever has changed (--migrate).\n")
	}
	b.WriteString(renderHTTPS(*plan))
	b.WriteString(renderSteps(host, *plan))
	return b.String()
}

// renderHTTPS returns what becomes of https, where that is another way than before.
func renderHTTPS(plan deploy.Plan) string {
	before, after := cmp.Or(plan.TLSBefore, compose.TLSOff), cmp.Or(plan.Target.TLS.Mode, compose.TLSOff)
	switch {
	case before == after:
		return ""
	case after == compose.TLSOff:
		return fmt.Sprintf("\nHTTPS: %s → off: who comes by https gets no answer any more\n", before)
	}
	return fmt.Sprintf("\nHTTPS: %s → %s, %s\n", before, after, strings.Join(plan.Target.TLS.URLs(), ", "))
}

// renderApps returns a table of what becomes of the apps.
func renderApps(changes []deploy.AppChange) string {
	var b strings.Builder
	table := newTable(&b)
	for _, change := range changes {
		switch {
		case change.New == nil:
			fmt.Fprintf(table, "  %s\t%s\t→ not in this release\n", change.Name, at(change.Old))
		case change.Old == nil:
			fmt.Fprintf(table, "  %s\tnew\t→ %s\n", change.Name, at(change.New))
		case change.Changed():
			fmt.Fprintf(table, "  %s\t%s\t→ %s\n", change.Name, at(change.Old), at(change.New))
		default:
			fmt.Fprintf(table, "  %s\t%s\tunchanged\n", change.Name, at(change.New))
		}
	}
	_ = table.Flush()
	return b.String()
}

// renderPackages returns which Python packages move from one lock to the next.
func renderPackages(before, after string) string {
	count := image.CountPackages(after)
	if before == "" {
		if count == 0 {
			return ""
		}
		return fmt.Sprintf("\nPython packages: %d\n", count)
	}
	moves, err := image.Moves(before, after)
	if err != nil {
		return fmt.Sprintf("\nPython packages: %d, of which move\n  %s\n", count, err)
	}
	if len(moves) == 0 {
		return fmt.Sprintf("\nPython packages: %d, none moves\n", count)
	}
	lines := make([]string, len(moves))
	for i, m := range moves {
		switch {
		case m.From == "":
			lines[i] = m.Name + " " + m.To + " is new"
		case m.To == "":
			lines[i] = m.Name + " " + m.From + " goes"
		default:
			lines[i] = m.Name + " " + m.From + " → " + m.To
		}
	}
	return fmt.Sprintf("\nPython packages: %d, of which move\n  %s\n", count, strings.Join(lines, "\n  "))
}

// renderSteps returns the list of what the host does.
func renderSteps(host string, plan deploy.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nOn %s, project %s:\n", host, plan.Target.Project)
	for i, step := range plan.Steps {
		fmt.Fprintf(&b, "  %d. %s: %s\n", i+1, step.Name, step.Does)
	}
	b.WriteString("\n")
	return b.String()
}

// renderRecord returns a table of a release that went live.
func renderRecord(record release.Record) string {
	var b strings.Builder
	table := newTable(&b)
	fmt.Fprintf(table, "version\t%s\n", record.Version)
	fmt.Fprintf(table, "image\t%s\n", record.Image)
	if !record.FinishedAt.IsZero() {
		fmt.Fprintf(table, "live since\t%s\n", record.FinishedAt.UTC().Format(time.RFC3339))
	}
	if record.Previous != "" {
		fmt.Fprintf(table, "replaced\t%s, with a downtime of %.1f s\n", record.Previous, record.Downtime)
	}
	fmt.Fprintf(table, "sites\t%s\n", strings.Join(record.Sites, ", "))
	fmt.Fprintf(table, "runtimes\tPython %s, Node %s\n", record.Lock.Python, record.Lock.Node)
	for _, w := range record.Warnings {
		fmt.Fprintf(table, "warning\tstep %s failed with exit code %d: %s\n", w.Step, w.Exit, w.Remedy)
	}
	for _, app := range record.Lock.Apps {
		fmt.Fprintf(table, "app %s\t%s\n", app.Name, at(&app))
	}
	_ = table.Flush()
	return b.String()
}

// at returns an app's ref, version and commit.
func at(app *release.App) string {
	text := app.Ref
	if app.Version != "" && !strings.Contains(app.Ref, app.Version) {
		text += " (" + app.Version + ")"
	}
	return text + " " + short(app.Commit)
}

// short returns the first characters of a commit or digest, enough to tell two
// apart.
func short(sha string) string {
	_, hex, found := strings.Cut(sha, ":")
	if !found {
		hex = sha
	}
	return hex[:min(len(hex), 12)]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
