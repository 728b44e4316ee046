package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

// recordStep is the step after which a release stays live, whatever happens.
const recordStep = "record"

// wrong collects what does not hold.
type wrong []error

func (w *wrong) expect(ok bool, format string, args ...any) {
	if !ok {
		*w = append(*w, fmt.Errorf(format, args...))
	}
}

// judge checks that what must always hold holds on the host after the run.
func (th *testHost) judge(ctx context.Context, a *attempt) error {
	var w wrong
	run := th.state.LastRun
	if run == nil || run.ID <= a.after {
		return errors.New("there was no run")
	}
	text, err := th.bash(ctx, `cat "$1/runs/$2/journal"`, th.target.Dir, run.ID)
	if err != nil {
		return err
	}
	journal, _ := runner.ParseJournal(text)
	w.outcome(a, th.state, journal)
	w.client(a, th.state, journal)
	if th.state.Current == nil {
		// A first release was undone: its volumes are left, with all that is in
		// them, and are what the next one begins with.
		w.expect(len(th.state.Containers) == 0, "nothing is live, and these containers are left: %+v", th.state.Containers)
		a.writer.Stop()
		rows, _ := a.writer.Rows()
		th.known = append(th.known, rows...)
		return errors.Join(w...)
	}
	whole := th.images[slices.IndexFunc(th.images[:], func(p pushed) bool { return p.image.Digest == th.state.Current.Image.Digest })]
	th.isWhole(ctx, &w, whole)
	if err := th.findRows(ctx, a); err != nil {
		w = append(w, err)
	}

	// The next release may begin.
	next := th.order(th.host, th.host.SSHAddress(), whole, a.label+"-next")
	_, report := next.plan(ctx, th.state)
	w.expect(report.Err() == nil, "nothing can be released now: %w", report.Err())
	return errors.Join(w...)
}

// outcome holds that the old release is live or the new one, and that the run
// knows which. A run whose host no fault has touched goes to its end, and so
// does one that has its release on record. Before that it may go on or be
// undone, whether it only gets ready to take the site down or has done so.
func (w *wrong) outcome(a *attempt, state deploy.State, journal runner.Journal) {
	live := ""
	if state.Current != nil {
		live = state.Current.Version
	}
	w.expect(state.Lock == nil, "the deploy lock is held by %+v", state.Lock)
	switch state.LastRun.Status {
	case deploy.RunDone:
		w.expect(live == a.version, "the run is done, and %q is live", live)
	case deploy.RunUndone:
		w.expect(live == a.old, "the run is undone, and %q is live", live)
		touched := slices.ContainsFunc(a.caused, func(c cell) bool { return !c.fault.carriesOn })
		w.expect(touched, "the run was undone, though its host was not touched")
		recorded := slices.ContainsFunc(journal, func(e runner.Entry) bool {
			_, step, _ := strings.Cut(e.Name, "-")
			return e.Event == runner.End && e.Exit == 0 && step == recordStep
		})
		w.expect(!recorded, "the run was undone, though its release was on record")
	default:
		w.expect(false, "the run %s is %s", state.LastRun.ID, state.LastRun.Status)
	}
}

// client holds that the client reported what is so.
func (w *wrong) client(a *attempt, state deploy.State, journal runner.Journal) {
	said := a.client.last
	undone := state.LastRun.Status == deploy.RunUndone
	switch {
	case slices.ContainsFunc(a.caused, func(c cell) bool { return c.fault.kills }):
		w.expect(a.client.killed, "the client was to be killed, and said %s", said.Error)
	case said.Error == "":
		w.expect(!undone && said.Record.Version == a.version, "the client says that %s is live, and the run is %s", said.Record.Version, state.LastRun.Status)
	case undone:
		want := deploy.NothingChanged
		if a.cameToCritical(journal) {
			want = deploy.RolledBack
		}
		w.expect(said.State == want, "the client says %q, and it is %q: %s", said.State, want, said.Error)
	default:
		w.expect(false, "the client says: %s", said.Error)
	}
}

// cameToCritical reports whether the run began a step from which on it can't be
// stopped.
func (a *attempt) cameToCritical(journal runner.Journal) bool {
	for _, s := range a.plan.Steps {
		for _, e := range journal {
			if _, name, _ := strings.Cut(e.Name, "-"); s.Critical && e.Event == runner.Begin && name == s.Name {
				return true
			}
		}
	}
	return false
}

// isWhole holds that one release runs only, and the whole of it.
func (th *testHost) isWhole(ctx context.Context, w *wrong, whole pushed) {
	image := th.pulled + "@" + whole.image.Digest
	for _, c := range th.state.Containers {
		w.expect(!strings.HasPrefix(c.Image, th.pulled) || c.Image == image, "container %s runs %s, and %s is live", c.Name, c.Image, image)
	}
	all, err := th.bash(ctx, `docker ps --all --format '{{.Names}}'`)
	w.expect(err == nil, "list containers: %w", err)
	for _, name := range strings.Fields(all) {
		known := slices.ContainsFunc(th.state.Containers, func(c compose.Container) bool { return c.Name == name })
		w.expect(known, "container %s is left", name)
	}
	var answer struct{ Apps map[string]string }
	err = th.ask(ctx, "/api/method/version", &answer)
	w.expect(err == nil, "ask for versions: %w", err)
	w.expect(maps.Equal(answer.Apps, versionsOf(whole.lock)), "the site has the apps %v, and %v is live", answer.Apps, versionsOf(whole.lock))
}

// findRows holds that every row that was acknowledged is live, those of earlier
// runs too, or in a dump: one that was taken before an open site was put back,
// or, where a rollback brought data back, the backup that it took.
func (th *testHost) findRows(ctx context.Context, a *attempt) error {
	a.writer.Stop()
	rows, refused := a.writer.Rows()
	live, err := th.site().Live(ctx)
	if err != nil {
		return err
	}
	kind := ""
	if a.strategy.restores && th.state.LastRun.Status == deploy.RunDone {
		kind = "backup"
	}
	text, err := th.bash(ctx, writer.DumpsScript, th.target.Dir, th.state.LastRun.ID, kind)
	if err != nil {
		return fmt.Errorf("look into dumps: %w", err)
	}
	dumps, err := writer.ParseDumps(text)
	if err != nil {
		return err
	}
	found, err := writer.Find(append(slices.Clone(th.known), rows...), append([]writer.Place{live}, dumps...)...)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errors.New("no row was acknowledged: the writer proves nothing")
	}
	a.log("of %d rows %d were acknowledged; with %d of earlier runs they are in %v", len(rows)+refused, len(rows), len(th.known), found)
	th.known = live.Rows
	return nil
}

// versionsOf are the apps' versions as the site is to tell them.
func versionsOf(lock release.Lock) map[string]string {
	versions := map[string]string{}
	for _, app := range lock.Apps {
		versions[app.Name] = app.Version
	}
	return versions
}
