package deploy

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files, and the table in docs/deploy.md, anew")

// everyKind is a plan of every kind of run, as bare and as full as it can be.
func everyKind() []struct {
	name string
	plan Plan
} {
	unneeded := Unneeded{Versions: []string{"0.9.0"}, Backups: []string{"000001-0.9.0-abcd"}}
	var hooks []Hook
	for _, name := range hookNames {
		hooks = append(hooks, Hook{Name: name, Data: []byte("#!/bin/sh\n")})
	}
	target := func(strategy string, hooks []Hook) Target {
		return Target{Dir: "/srv/erp", Project: "erp", Sites: []string{"erp.example.com", "shop.example.com"}, HTTPPort: 8080, Strategy: strategy, Hooks: hooks}
	}
	plan := func(kind Kind, previous, strategy string, hooks []Hook, unneeded Unneeded, restore string) Plan {
		t := target(strategy, hooks)
		return Plan{Kind: kind, Version: "1.0.1", Previous: previous, Sites: t.Sites, Target: t, Unneeded: unneeded, RestoreFrom: restore, nextRun: 7}
	}
	return []struct {
		name string
		plan Plan
	}{
		{"first release", plan(Release, "", "", nil, Unneeded{}, "")},
		{"first release, asked to swap, with hooks and something to prune", plan(Release, "", Swap, hooks, unneeded, "")},
		{"cycle", plan(Release, "1.0.0", Cycle, nil, Unneeded{}, "")},
		{"cycle, with hooks and something to prune", plan(Release, "1.0.0", "", hooks, unneeded, "")},
		{"swap", plan(Release, "1.0.0", Swap, nil, Unneeded{}, "")},
		{"swap, with hooks and something to prune", plan(Release, "1.0.0", Swap, hooks, unneeded, "")},
		{"rollback, cycle", plan(Rollback, "1.0.2", "", nil, Unneeded{}, "")},
		{"rollback, cycle, with hooks and the databases", plan(Rollback, "1.0.2", Cycle, hooks, Unneeded{}, "000008-1.0.2-abcd")},
		{"rollback, swap", plan(Rollback, "1.0.2", Swap, nil, Unneeded{}, "")},
		{"rollback, swap, with hooks and the databases", plan(Rollback, "1.0.2", Swap, hooks, Unneeded{}, "000008-1.0.2-abcd")},
		{"prune", plan(Prune, "1.0.1", Swap, hooks, unneeded, "")},
		{"prune, with nothing to do", plan(Prune, "1.0.1", "", nil, Unneeded{}, "")},
	}
}

// TestPlannedSteps holds the steps of every kind of run, their order, and from
// where on a run can't be stopped.
func TestPlannedSteps(t *testing.T) {
	var text strings.Builder
	for _, kind := range everyKind() {
		fmt.Fprintf(&text, "%s:\n", kind.name)
		for _, step := range kind.plan.planned() {
			mark := " "
			if step.Critical {
				mark = "!"
			}
			if step.Settled {
				mark = "="
			}
			fmt.Fprintf(&text, "%s %s: %s", mark, step.Name, step.Does)
			if step.Undo != "" {
				fmt.Fprintf(&text, " / %s", step.Undo)
			}
			text.WriteString("\n")
		}
		text.WriteString("\n")
	}
	const golden = "testdata/steps.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("other steps than in %s; if that is meant, run: go test ./deploy -run TestPlannedSteps -update\n%s", golden, text.String())
	}
}
