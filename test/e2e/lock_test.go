package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// untilGo is a hook that waits to be let go on, and then has another migrate
// hold its lock.
const untilGo = `touch "$HOME/waiting"; until [ -e "$HOME/go" ]; do sleep 0.1; done
` + backendOnHost + `
	docker exec -d "$id" /home/frappe/frappe-bench/env/bin/python -c 'import filelock, os, time
with filelock.FileLock("sites/` + sandbox.Site + `/locks/bench_migrate.lock"):
    open("/tmp/held", "w").close()
    while not os.path.exists("/tmp/let-go"):
        time.sleep(0.1)'
	until docker exec "$id" test -e /tmp/held; do sleep 0.1; done`

func (s liveSite) twoAtOnce(t *testing.T) {
	s.must("bench", "--", "--site", sandbox.Site, "set-config", "-p", "slow_patch_seconds", "1")
	first := s.withHooks("before-migrate", untilGo, "after-deploy", `echo "the chat did not take $RELEASE_VERSION"; exit 1`)
	done := make(chan string, 1)
	go func() {
		defer close(done)
		if code, _, errs := first.run(deploy("3.1.0")...); code != 0 {
			done <- errs
		}
	}()
	s.awaitFile("waiting")
	s.fails(deploy("3.2.0"), cli.ExitUsage, "is under way since", "3.1.0")
	if status := s.must("status"); !strings.Contains(status, "(running)") || !strings.Contains(status, "(at before-migrate)") {
		t.Errorf("status:\n%s", status)
	}
	s.fails([]string{"unlock", "--undo"}, cli.ExitUsage, "is under way")
	s.onHost("touch", "go")
	const log = "cat " + sandbox.Project + "/runs/*3.1.0*/log | tail -n 200"
	s.eventually("it waits for another migrate", func() error {
		if waits := "another migrate runs on " + sandbox.Site + ": waiting for it"; !strings.Contains(s.onHost("sh", "-c", log), waits) {
			return errors.New("not yet")
		}
		return nil
	})
	s.onHost("docker", "exec", s.container("backend"), "touch", "/tmp/let-go")
	if errs := <-done; errs != "" {
		t.Fatal(errs)
	}
	s.has(s.onHost("sh", "-c", log), "-after-deploy failed with exit code 1; it is tried again in 20 s")
	s.has(s.must("show", "3.1.0"), "step after-deploy failed with exit code 1")
	s.hasVersion("erpnext", "15.1.3")
}
