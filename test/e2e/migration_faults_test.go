package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

func (s liveSite) patchFails(t *testing.T) {
	// A request is under way when the sites are closed, and a reporting tool reads
	// a table all the while, as the server's root.
	answered := make(chan int, 1)
	go func() {
		s.awaitFile("in-hook")
		code, _ := s.ask(http.MethodPost, "/api/method/frappe.desk.doctype.note.note.write_slowly", `{"title": "slow", "seconds": 12}`)
		answered <- code
	}()
	s.withHooks("before-deploy", `touch "$HOME/in-hook"; sleep 1`, "before-migrate", `
		db=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=db)
		docker exec -d "$db" sh -c '`+asRoot+` `+s.database(sandbox.Site)+` --execute "start transaction; select * from tabCustomer; select sleep(1200)"'`).
		fails(deploy("3.0.0"), cli.ExitRolledBack,
			"patch erpnext.patches.v15_1.merge_customers on erp.localhost failed", "Unknown column 'no_such_column'",
			"site: 2.0.0 is live again and answers", "next: correct erpnext/patches/v15_1/merge_customers.py in the app erpnext", "log: ")
	if code, found := <-answered, s.query("select title from tabNote where title = 'slow'"); code != http.StatusOK || !strings.Contains(found, "slow") {
		t.Errorf("a request that was under way is answered with %d, and its row is %q", code, found)
	}
	s.query("delete from audit where what = (select name from tabNote where title = 'slow'); delete from tabNote where title = 'slow'")
	s.onHost("rm", "in-hook")
	s.asBefore()
}

func (s liveSite) patchFailsInSwap(*testing.T) {
	config := func() string {
		return s.onHost("docker", "exec", s.container("backend"), "cat", "sites/common_site_config.json")
	}
	before := config()
	s.with(`EXTRA_CONFIG={"mail_server": "smtp.example.org"}`).fails(deploy("3.0.0", "--strategy", "swap"), cli.ExitRolledBack,
		"patch erpnext.patches.v15_1.merge_customers on erp.localhost failed", "site: 2.0.0 is live again and answers")
	s.asBefore()
	if after := config(); after != before {
		s.t.Errorf("the configuration is\n%s\nand was\n%s", after, before)
	}
}

func (s liveSite) migrationKilled(*testing.T) {
	// As the kernel does when memory runs out.
	s.withHooks("before-migrate", backendOnHost+`
		docker exec -d "$id" bash -c 'until found=$(grep -la "m[i]grate" /proc/[0-9]*/cmdline); do sleep 0.05; done
			for one in $found; do one=${one#/proc/}; kill -9 "${one%/cmdline}"; done'`).
		fails(deploy("3.1.0"), cli.ExitRolledBack, "release 3.1.0 did not go live", "site: 2.0.0 is live again")
	s.asBefore()
}

func (s liveSite) held(t *testing.T) {
	s.withHooks("before-migrate", `cd "$RELEASE_DIR/../../backups/$RELEASE_RUN"; dump=${RELEASE_SITES%% *}-database.sql.gz; cp "$dump" "$HOME/good.sql.gz"; echo broken >"$dump"`).
		fails(deploy("3.0.0"), cli.ExitNeedsPerson, "site: held, and it may be closed", "pipeline unlock --undo", "runner undo", "log: ")
	code := 0
	for deadline := time.Now().Add(time.Minute); code != http.StatusServiceUnavailable && time.Now().Before(deadline); {
		if code, _ = s.get("/api/method/ping"); code == http.StatusOK {
			break
		}
	}
	if code != http.StatusServiceUnavailable {
		t.Errorf("half a migration is live, or nothing: ping answers %d", code)
	}
	s.fails(deploy("3.2.0"), cli.ExitUsage, "has not come to an end: it is held", "pipeline unlock --undo")
	s.fails([]string{"unlock"}, cli.ExitUsage, "is held, while step migrate was undone", "--resume")
	s.onHost("sh", "-c", `cp good.sql.gz "$(ls -d `+sandbox.Project+`/backups/*3.0.0* | tail -n 1)/`+sandbox.Site+`-database.sql.gz"`)
	s.must("unlock", "--undo")
	s.asBefore()
}
