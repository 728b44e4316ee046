// Package setup makes a bare server ready for releases, over SSH and as often as
// wanted: each step looks first, and what is done already is left as it is.
//
// What a host lacks is found in one place and said in the same words by check,
// which looks as the user who deploys, and by setup, which looks as root.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// steps are what makes a host ready, in this order. Docker's settings come before
// Docker, which reads them when it starts for the first time; its package makes the
// group that the user needs.
var steps = []step{
	{"log limits", logLimits},
	{"docker", docker},
	{"user", deployUser},
	{"key", loginKey},
	{"folder", folder},
	{"start", startWithHost},
	{"resume", resume},
	{"swap", swap},
	{"firewall", firewall},
}

// step is one thing that a host needs. It looks at what is there and says what it
// found.
type step struct {
	name string
	find func(Facts, Options) finding
}

// finding is what a step found. A step that has nothing to say about this host
// leaves it empty.
type finding struct {
	// has says what is there, where nothing is missing.
	has string
	// missing is what is not; nil for nothing. Its remedy is for check.
	missing *problem.Problem
	// blocks says that no release goes without it. What does not is worth a
	// warning.
	blocks bool
	// does says what setup does about it, and act does it. Without them it is for
	// the operator.
	does string
	act  func(context.Context, root) error
}

// Host is a connection to a host, as deploy/host has it.
type Host interface {
	Run(ctx context.Context, argv []string, o host.Options) (host.Result, error)
}

// Options say what the host is to be ready for.
type Options struct {
	// User is the user who deploys, and Dir its folder, an absolute path.
	User, Dir string
	// Key is the line of authorized_keys that lets the user in, with a comment or
	// without, and Fingerprint how it is called.
	Key, Fingerprint string
	// HTTPPort and HTTPSPort are the ports that visitors come to.
	HTTPPort, HTTPSPort int
	// Docker is where Docker comes from where there is none: [FromDistribution],
	// [FromDocker], or empty for the distribution's where it has compose v2.
	Docker string
	// Repository is the address of Docker's packages for the host's system; empty
	// for Docker's own. RepositoryKey is the fingerprint of the OpenPGP key that
	// signs it; empty for Docker's.
	Repository, RepositoryKey string
}

// Plan is what setup found on a host and does there.
type Plan struct {
	// Facts are what is there, Changes what each step says to it.
	Facts   Facts
	Changes []Change
	options Options
	prefix  []string
}

// Change is what a step found and does.
type Change struct {
	// Step is its name.
	Step string
	// Has says what is there where nothing is missing, else Missing what is.
	Has     string
	Missing string
	// Does says what is done about it; empty where that is for the operator, to
	// whom Remedy says what.
	Does, Remedy string
	act          func(context.Context, root) error
}

// Pending returns the changes that setup makes.
func (p Plan) Pending() (pending []Change) {
	for _, c := range p.Changes {
		if c.Does != "" {
			pending = append(pending, c)
		}
	}
	return pending
}

// MakePlan looks at a host as root, or as a user whom sudo makes root without a
// password, and returns what is to be done. It changes nothing. What can be known to
// go wrong is reported.
func MakePlan(ctx context.Context, h Host, o Options) (Plan, problem.Report, error) {
	prefix, port, report, err := connected(ctx, h)
	if err != nil || len(report) > 0 {
		return Plan{}, report, err
	}
	facts, err := look(ctx, root{Host: h, prefix: prefix}, o, port)
	if err != nil {
		return Plan{}, nil, err
	}
	p := Plan{Facts: facts, options: o, prefix: prefix}
	report.Add(unsupported(facts, o)...)
	for _, s := range steps {
		found := s.find(facts, o)
		if found.has == "" && found.missing == nil {
			continue
		}
		c := Change{Step: s.name, Has: found.has, Does: found.does, act: found.act}
		if found.missing != nil {
			c.Missing, c.Remedy = found.missing.Error(), found.missing.Remedy
			if found.blocks && found.does == "" {
				report.Add(*found.missing)
			}
		}
		p.Changes = append(p.Changes, c)
	}
	return p, report, nil
}

// Warnings returns what the host lacks that no release needs and an operator wants,
// as far as the user who deploys can see it: what stands in the way of one is among
// the problems of a plan.
func Warnings(ctx context.Context, h Host, o Options) (problem.Report, error) {
	facts, err := look(ctx, root{Host: h}, o, 0)
	if err != nil {
		return nil, err
	}
	var report problem.Report
	for _, s := range steps {
		// What wakes a run is asked by the runner's own means.
		if found := s.find(facts, o); found.missing != nil && !found.blocks && found.missing.Code != codeResume {
			report.Add(*found.missing)
		}
	}
	return report, nil
}

// FailedError is a step that failed. What the steps before it did stays, and setup
// goes on from there when it is called again.
type FailedError struct {
	Step string
	Err  error
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("set up the host: step %s failed: %v\n  next: when the cause is gone, pipeline setup goes on from there", e.Step, e.Err)
}

// Unwrap returns the underlying error.
func (e *FailedError) Unwrap() error { return e.Err }

// Run does what a plan says, step by step, and looks whether it holds. done is told
// of each step that has ended, and output gets what programs on the host print. A step
// that failed is a [*FailedError].
func (p Plan) Run(ctx context.Context, h Host, output io.Writer, done func(step string)) error {
	r := root{Host: h, prefix: p.prefix, output: output}
	for _, c := range p.Pending() {
		if err := c.act(ctx, r); err != nil {
			return &FailedError{Step: c.Step, Err: err}
		}
		done(c.Step)
	}
	after, report, err := MakePlan(ctx, h, p.options)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return &FailedError{Step: "look again", Err: err}
	}
	for _, c := range after.Pending() {
		return &FailedError{Step: c.Step, Err: errors.New("it has ended, and still " + c.Missing)}
	}
	return nil
}
