package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

func (s liveSite) fullAtBackup(*testing.T) {
	s.withHooks("before-deploy", `cd "$RELEASE_DIR/../../backups"; mkdir "$RELEASE_RUN"; ln -s /dev/full "$RELEASE_RUN/${RELEASE_SITES%% *}-database.sql.gz.part"`).
		fails(deploy("3.1.0"), cli.ExitFailed, "step backup failed", "o space left on device", "nothing was changed")
	s.asBefore()
}

func (s liveSite) fullAtMigration(t *testing.T) {
	s.must(s.command("push", "3.4.0", apps.Version1().With("erpnext", "v15.1.3").With("frappe", "v15.1.1"), "--skip-smoke-test")...)
	// To make the table of these anew, the database needs room.
	for n := range 30 {
		s.query(fmt.Sprintf("insert into tabCustomer (name, customer_name, territory) select concat('c', seq), 'Customer', 'denmark' from seq_%d_to_%d", n*10_000+1, (n+1)*10_000))
	}
	if err := s.world.Host.ShrinkVolumes(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.eventually("ping", s.ping)
	const sum = "checksum table tabCustomer, tabNote, `tabPatch Log`"
	before := s.query(sum)
	// There was room when it was looked for. When there is none any more, there is
	// none for the backup either, until the operator makes some.
	s.withHooks("before-migrate", `docker exec "$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=db)" sh -c '
		dd if=/dev/zero of=/var/lib/mysql/filler bs=1M count=$(($(df -Pm /var/lib/mysql | awk "NR == 2 { print \$4 }") - 8))'`).fails(deploy("3.4.0"), cli.ExitNeedsPerson,
		"patch erpnext.patches.v15_1.recount_stock on erp.localhost failed", "site: held, and it may be closed", "next: make room on the host", "pipeline unlock --undo")
	if err := s.world.Host.GrowVolumes(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.must("unlock", "--undo")
	if status := s.must("status"); !strings.Contains(status, "version         3.3.0") || !strings.Contains(status, "The deploy lock is free") {
		t.Errorf("status:\n%s", status)
	}
	if after := s.query(sum); after != before {
		t.Errorf("the data were\n%s\nand are\n%s", before, after)
	}
}
