// Package problem holds what a check found wrong and what to do about it.
//
// A check never stops at its first finding: it collects them in a [Report],
// and the caller decides whether to go on. One place renders them, so that
// every problem reads the same on a terminal, in a log and in a job summary.
package problem

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Problem is one finding. Its fields hold no secrets: of a bad secret they
// name the place, never the value.
type Problem struct {
	// Code names the kind of finding in lower case with dots, for instance
	// "apps.ref-missing". It is stable: scripts may match it.
	Code string `json:"code"`
	// Subject is where the finding is: a file with its line, a key, a host.
	Subject string `json:"subject"`
	// Detail says what is wrong there.
	Detail string `json:"detail"`
	// Remedy says what to do about it, in the imperative.
	Remedy string `json:"remedy,omitempty"`
	// Err is the underlying error, if there is one. It is not rendered:
	// Detail says what of it the reader needs.
	Err error `json:"-"`
}

// Error renders the problem on one line, without its remedy.
func (p Problem) Error() string { return p.Subject + ": " + p.Detail }

// Unwrap returns the underlying error.
func (p Problem) Unwrap() error { return p.Err }

// Report is a list of problems in the order in which they were found. The
// zero value is an empty report.
type Report []Problem

// Addf appends a problem whose detail is formatted.
func (r *Report) Addf(code, subject, remedy, format string, args ...any) {
	*r = append(*r, Problem{Code: code, Subject: subject, Remedy: remedy, Detail: fmt.Sprintf(format, args...)})
}

// Add appends problems.
func (r *Report) Add(problems ...Problem) { *r = append(*r, problems...) }

// Err returns the report as an error, or nil if it is empty.
func (r Report) Err() error {
	if len(r) == 0 {
		return nil
	}
	return &Error{Report: slices.Clone(r)}
}

// Error is a report that travels as an error.
type Error struct{ Report Report }

func (e *Error) Error() string {
	lines := make([]string, len(e.Report))
	for i, p := range e.Report {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "; ")
}

// Unwrap returns the problems, for errors.As and errors.Is.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Report))
	for i, p := range e.Report {
		errs[i] = p
	}
	return errs
}

// Render writes every problem with its remedy, for a terminal or a log:
//
//	✗ apps.json:7: hrms v15.99.0: no such tag in frappe/hrms
//	  fix: newest is v15.33.0; nearest are v15.13.0, v15.13.1
func (r Report) Render(w io.Writer) error {
	for _, p := range r {
		if _, err := fmt.Fprintf(w, "✗ %s: %s\n", p.Subject, indent(p.Detail)); err != nil {
			return err
		}
		if p.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "  fix: %s\n", indent(p.Remedy)); err != nil {
			return err
		}
	}
	return nil
}

// indent keeps the continuation lines of a long text under its problem.
func indent(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") }
