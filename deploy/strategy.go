package deploy

import (
	"fmt"
	"slices"
)

// Kind is what a run is for.
type Kind string

// The kinds.
const (
	Release  Kind = "release"
	Rollback Kind = "rollback"
	Prune    Kind = "prune"
)

// The strategies that a target can ask for.
const (
	Cycle = "cycle"
	Swap  = "swap"
)

// strategy is what a run does on the host, in this order, under the deploy
// lock. When a step fails, it and all before it are undone, the newest first.
// Where undoing fails the run is held: the rest is left as it is, with the sites
// in maintenance mode, for the operator. Once the release is the current one
// nothing is undone any more.
type strategy struct {
	// stoppable are the steps during which the run can be stopped by request:
	// then it is undone.
	stoppable []step
	// critical are those that take the site down, lead over to the new release
	// or come after that. From the first of them on the run can't be stopped.
	critical []step
	// settled are those after which nothing is undone: visitors write to the
	// release. One that fails is tried again, then it is a warning and the run
	// goes on.
	settled []step
}

// all returns the steps of all parts.
func (s strategy) all() []step { return slices.Concat(s.stoppable, s.critical, s.settled) }

// strategyOf returns the strategy of a run.
func strategyOf(r runSpec) strategy {
	switch {
	case r.kind == Prune:
		return pruning
	case r.kind == Rollback && r.swaps():
		return rollbackSwap
	case r.kind == Rollback:
		return rollbackCycle
	case r.previous == "":
		return first
	case r.swaps():
		return swap
	}
	return cycle
}

// runStep is a step of a run.
type runStep struct {
	step
	// file is the name of its files, without their endings.
	file string
	part part
}

// part is a part of a strategy; the later, the greater.
type part int

const (
	stoppablePart part = iota
	criticalPart
	settledPart
)

// steps returns the steps that the run has.
func (r runSpec) steps() []runStep {
	var steps []runStep
	add := func(list []step, in part) {
		for _, s := range list {
			if s.needed == nil || s.needed(r) {
				steps = append(steps, runStep{step: s, file: fmt.Sprintf("%03d-%s", (len(steps)+1)*10, s.name), part: in})
			}
		}
	}
	s := strategyOf(r)
	add(s.stoppable, stoppablePart)
	add(s.critical, criticalPart)
	add(s.settled, settledPart)
	return steps
}

// firstOf returns the file of the first step of a part or a later one: from
// there on the run can't be stopped, or nothing is undone. It is empty where
// there is none.
func firstOf(steps []runStep, p part) string {
	for _, s := range steps {
		if s.part >= p {
			return s.file
		}
	}
	return ""
}
