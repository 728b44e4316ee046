package deploy

import "fmt"

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
// in maintenance mode, for the operator.
type strategy struct {
	// stoppable are the steps during which the run can be stopped by request:
	// then it is undone.
	stoppable []step
	// critical are those that take the site down, lead over to the new release
	// or come after that. From the first of them on the run can't be stopped.
	critical []step
}

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
	file     string
	critical bool
}

// steps returns the steps that the run has.
func (r runSpec) steps() []runStep {
	var steps []runStep
	add := func(list []step, critical bool) {
		for _, s := range list {
			if s.needed == nil || s.needed(r) {
				steps = append(steps, runStep{step: s, file: fmt.Sprintf("%03d-%s", (len(steps)+1)*10, s.name), critical: critical})
			}
		}
	}
	s := strategyOf(r)
	add(s.stoppable, false)
	add(s.critical, true)
	return steps
}

// firstCritical returns the file of the first step of a run at which it can't be
// stopped any more; empty where there is none.
func firstCritical(steps []runStep) string {
	for _, s := range steps {
		if s.critical {
			return s.file
		}
	}
	return ""
}
