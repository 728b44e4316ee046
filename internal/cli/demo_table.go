package cli

import (
	"fmt"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

// renderDemo returns a table of all releases of the demo.
func renderDemo(releases []demoRelease) string {
	var b strings.Builder
	table := newTable(&b)
	row := func(cells ...string) { fmt.Fprintln(table, strings.Join(cells, "\t")) }
	head := []string{""}
	for _, r := range releases {
		head = append(head, r.record.Version)
	}
	row(head...)
	cells := func(name string, cell func(demoRelease) string) {
		line := []string{name}
		for _, r := range releases {
			line = append(line, cell(r))
		}
		row(line...)
	}
	cells("image", func(r demoRelease) string { return short(r.record.Image.Digest) })
	var names []string
	seen := map[string]bool{}
	for _, r := range releases {
		for _, app := range r.record.Lock.Apps {
			if !seen["app "+app.Name] {
				seen["app "+app.Name] = true
				cells("app "+app.Name, func(r demoRelease) string { return appCell(r.record.Lock, app.Name) })
			}
		}
		for _, stage := range r.stages {
			if !seen["stage "+stage.name] {
				seen["stage "+stage.name] = true
				names = append(names, stage.name)
			}
		}
	}
	for _, name := range names {
		cells("build "+name, func(r demoRelease) string { return stageCell(r.stages, name) })
	}
	var steps []string
	for _, r := range releases {
		for _, step := range r.record.Steps {
			if !seen["step "+step.Name] {
				seen["step "+step.Name] = true
				steps = append(steps, step.Name)
			}
		}
	}
	for _, name := range steps {
		cells("host "+name, func(r demoRelease) string {
			for _, step := range r.record.Steps {
				if step.Name == name {
					return fmt.Sprintf("%.1fs", step.Seconds)
				}
			}
			return "-"
		})
	}
	cells("downtime", func(r demoRelease) string {
		if r.record.Previous == "" {
			return "none: a new site"
		}
		return fmt.Sprintf("%.1fs", r.record.Downtime)
	})
	cells("in all", func(r demoRelease) string { return seconds(r.took) })
	_ = table.Flush()
	return b.String()
}

func appCell(lock release.Lock, name string) string {
	for _, app := range lock.Apps {
		if app.Name == name {
			return app.Ref + " " + short(app.Commit)
		}
	}
	return "-"
}

func stageCell(stages []stageRow, name string) string {
	for _, stage := range stages {
		if stage.name == name && stage.cached {
			return "cached"
		}
		if stage.name == name {
			return fmt.Sprintf("%.1fs", stage.seconds)
		}
	}
	return "-"
}
