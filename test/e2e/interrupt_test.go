package e2e

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

// The job begins moments before its end is waited for, so that it can't be over
// by then, however slow the machine is.
func (s liveSite) jobsDoNotEnd(*testing.T) {
	u := s.withHooks("before-deploy", `
		backend=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=backend)
		docker exec "$backend" bench --site "${RELEASE_SITES%% *}" execute frappe.enqueue --kwargs "{'method': 'frappe.utils.background_jobs.test_job', 's': 60}"`)
	u.with("DRAIN_SECONDS=2").fails(deploy("3.2.0"), cli.ExitFailed,
		"step drain failed", "jobs have not ended in 2 s", "site: 2.0.0 is live, as it was: nothing was changed")
	s.asBefore()
}

func (s liveSite) hookStops(*testing.T) {
	s.withHooks("before-deploy", `echo "no releases on a Friday: $RELEASE_VERSION over $RELEASE_PREVIOUS"; exit 1`).
		fails(deploy("3.2.0"), cli.ExitFailed, "step before-deploy failed", "no releases on a Friday: 3.2.0 over 2.0.0", "nothing was changed")
	s.asBefore()
}

func (s liveSite) interrupted(t *testing.T) {
	u := s.withHooks("before-deploy", `touch "$HOME/in-hook"; while :; do sleep 0.1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- u.started(ctx, strings.NewReader(""), io.Discard, &errs, deploy("3.2.0")...) }()
	s.awaitFile("in-hook")
	cancel()
	if code := <-ended; code != cli.ExitInterrupted {
		t.Errorf("exit %d\n%s", code, errs.String())
	}
	s.asBefore()
}
