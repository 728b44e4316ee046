package deploy

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/deploy/runner"
)

// startLimit bounds the start of a run, which is waited for even when the
// caller wants to stop: it has to be known whether there is a run.
const startLimit = time.Minute

// start connects, uploads the run and starts it. With an error there is no run
// on the host, but for a [*FailedError]: then it is not known.
func (r *session) start(ctx context.Context) error {
	if err := r.conn.connect(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	target := r.plan.Target
	if r.plan.Kind == Release {
		if err := pullWithLogin(ctx, r.conn.get(), target.Login, target.pullReference(r.record.Image)); err != nil {
			return err
		}
	}
	files, err := r.plan.folder(r.id, r.record, r.conn.registryAddress)
	if err != nil {
		return err
	}
	dir := r.at.run(r.id)
	err = r.conn.do(ctx, func(h Host) error {
		err := h.UploadTree(ctx, dir, files)
		if errors.Is(err, host.ErrExists) {
			// By the attempt before: the name of the folder is this run's.
			return nil
		}
		return err
	})
	if err == nil && ctx.Err() == nil {
		// From here on it has to be known whether there is a run.
		starting, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit)
		defer cancel()
		err = r.conn.do(starting, func(h Host) error {
			_, err := h.StartDetached(starting, runner.Command(dir, "start"), r.at.log(r.id))
			if errors.Is(err, host.ErrExists) {
				return nil
			}
			return err
		})
		if err == nil {
			return nil
		}
		began, asked := r.began(starting)
		if asked != nil {
			return r.startUnknown(errors.Join(err, asked))
		}
		if began {
			return nil
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	r.discard(ctx)
	return err
}

// began asks the host whether the run was started, over a new connection if need
// be: the answer to its start did not come.
func (r *session) began(ctx context.Context) (began bool, err error) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.conn.timeout)
	defer cancel()
	err = r.conn.do(asking, func(h Host) error {
		result, err := h.Run(asking, script(startStateScript, r.at.run(r.id), r.at.log(r.id)), host.Options{})
		began = strings.TrimSpace(result.Stdout) == "started"
		return outcomeUnknown(err)
	})
	return began, err
}

// startUnknown returns the error of a run of which it is not known whether it
// was started.
func (r *session) startUnknown(err error) error {
	f := r.failed(NeedsPerson, "not known: the connection was lost while the run was being started, and the host could not be asked; if it was started, the host carries on by itself")
	f.Err = err
	f.Next = []string{"see whether it was started, and what became of it: pipeline status, or on the host: " + r.byHand("status")}
	return f
}

// discard removes what the run left on the host, if it was never started.
func (r *session) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if h := r.conn.get(); h != nil {
		// What stays is rubbish that only its owner can read.
		_, _ = h.Run(ctx, script(discardScript, r.at.run(r.id)), host.Options{})
		if target := r.plan.Target; r.tested != nil && target.Login.Password.IsSet() {
			// It was pulled before, and may never pass its smoke test.
			_, _ = h.Run(ctx, []string{"docker", "image", "rm", target.pullReference(r.record.Image)}, host.Options{})
		}
	}
}
