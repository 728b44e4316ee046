package deploy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// A run whose image is still smoke-tested waits on the host until it is told that the
// image has passed (the folder passed in that of the run, with the record of the release
// as it is then), and ends by itself where nothing is heard any more (the file heard).
const (
	heardEvery  = 20 * time.Second
	passedAgain = time.Second
)

// quietLimit is how long a run waits for a word. A connection that is lost may take five
// minutes to come back, and some to be known as lost.
var quietLimit = 8 * time.Minute

// BeforeTested reports whether a run has changed nothing and ended for a reason that may
// be gone when its image has passed: it could not begin, lost the connection that it
// pulls through, or heard nothing any more. What it found wrong is no such reason.
func (f *FailedError) BeforeTested() bool {
	return f.State == NothingChanged && slices.Contains([]string{"", pull.name, AwaitSmokeTest}, f.Step)
}

// await does what goes on beside the following of a run, see [session.following].
func (r *session) await(ctx, following context.Context, leave func(), ended <-chan struct{}) {
	telling, cancel := context.WithCancel(following)
	var side sync.WaitGroup
	if r.tested != nil {
		side.Go(func() { r.tellTested(telling) })
	}
	r.awaitInterrupt(ctx, following, leave, ended)
	cancel()
	side.Wait()
}

// tellTested tells the run that its image has passed, as soon as it has, and until then
// that it is still tested. Who follows the run makes a connection that is lost again.
func (r *session) tellTested(ctx context.Context) {
	still := time.NewTicker(heardEvery)
	defer still.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r.record.Image = <-r.tested:
			r.passed = true
			r.tellPassed(ctx)
			return
		case <-still.C:
			r.tellOfTest(ctx)
		}
	}
}

// tellOfTest makes no file: the run does that when it begins to wait, for its user alone.
func (r *session) tellOfTest(ctx context.Context) {
	if h := r.conn.get(); h != nil {
		_, _ = h.Run(ctx, script(`touch -c "$1/heard"`, r.at.run(r.id)), host.Options{})
	}
}

// tellPassed gives the run its record, again and again until it has it.
func (r *session) tellPassed(ctx context.Context) {
	text, err := recordText(r.record)
	if err != nil {
		return // it was written before
	}
	said := false
	for ctx.Err() == nil {
		if h := r.conn.get(); h != nil {
			err := h.UploadTree(ctx, r.at.run(r.id)+"/passed", []host.File{plainFile(recordFile, text)})
			if err == nil || errors.Is(err, host.ErrExists) {
				return
			}
			var answer *host.RunError
			if errors.As(err, &answer) && !said {
				said = true
				r.observe(Event{Kind: Noted, Step: AwaitSmokeTest, Text: "warning: the host does not take the word that the image has passed: " + answer.Error()})
			}
			r.tellOfTest(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(passedAgain):
		}
	}
}
