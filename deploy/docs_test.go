package deploy

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	docsFile   = "../docs/deploy.md"
	stepsBegin = "<!-- steps:begin -->\n"
	stepsEnd   = "<!-- steps:end -->"
)

// TestDocsHaveTheSteps holds that the table of steps in docs/deploy.md is what
// the lists say.
func TestDocsHaveTheSteps(t *testing.T) {
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(got), stepsBegin)
	_, after, ends := strings.Cut(rest, stepsEnd)
	if !begins || !ends {
		t.Fatalf("%s has not the lines %q and %q, between which the table of all steps stands", docsFile, strings.TrimSpace(stepsBegin), stepsEnd)
	}
	want := before + stepsBegin + stepsTable() + stepsEnd + after
	if string(got) == want {
		return
	}
	if !*update {
		t.Fatalf("the table of %s is not what the strategies say; run: go test ./deploy -run TestDocsHaveTheSteps -update", docsFile)
	}
	if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// stepsTable returns the steps of all strategies as a table in Markdown.
func stepsTable() string {
	columns := []struct {
		name  string
		lists []strategy
	}{
		{"first", []strategy{first}}, {"cycle", []strategy{cycle}}, {"swap", []strategy{swap}}, {"rollback", []strategy{rollbackCycle, rollbackSwap}},
	}
	same := func(a step) func(step) bool {
		return func(b step) bool { return a.name == b.name && a.does == b.does && a.undo == b.undo }
	}
	has := func(s strategy, one step) bool {
		return slices.ContainsFunc(s.all(), same(one))
	}
	var rows []step
	for _, s := range []strategy{cycle, swap, first, rollbackCycle, rollbackSwap} {
		list := s.all()
		for i, one := range list {
			if slices.ContainsFunc(rows, same(one)) {
				continue
			}
			// It goes before the next step that is in the table already.
			at := len(rows)
			for _, next := range list[i+1:] {
				if n := slices.IndexFunc(rows, same(next)); n >= 0 {
					at = n
					break
				}
			}
			rows = slices.Insert(rows, at, one)
		}
	}
	var b strings.Builder
	b.WriteString("| step | what it does |")
	for _, c := range columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString(" undone by |\n|---|---|---|---|---|---|---|\n")
	for _, one := range rows {
		fmt.Fprintf(&b, "| %s | %s |", one.name, one.does)
		for _, c := range columns {
			mark := ""
			switch {
			case !slices.ContainsFunc(c.lists, func(s strategy) bool { return !has(s, one) }):
				mark = "✓"
			case len(c.lists) == 2 && has(c.lists[0], one):
				mark = "cycle"
			case len(c.lists) == 2 && has(c.lists[1], one):
				mark = "swap"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		fmt.Fprintf(&b, " %s |\n", one.undo)
	}
	return b.String()
}
