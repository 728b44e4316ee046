package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/apps"
)

// faults has releases fail on the host in all the ways that do not depend on
// the step, and looks each time at what the program says and what is left. The
// live release is 2.0.0; at the end another one is.
func (u *user) faults(t *testing.T) {
	u.t = t
	for version, selection := range map[string]apps.Selection{
		"3.0.0": apps.Version1().With("erpnext", "v15.1.2"),                           // a patch fails
		"3.1.0": apps.Version1().With("erpnext", "v15.1.3"),                           // a patch is slow
		"3.2.0": apps.Version1().With("erpnext", "v15.1.1").With("frappe", "v15.1.1"), // no migration
	} {
		u.must(append([]string{"push", "--skip-smoke-test"}, u.apps(version, selection)...)...)
	}
	deploy := func(version string, flags ...string) []string {
		return append([]string{"deploy", version, "--yes", "--env-file", ""}, flags...)
	}
	data := u.data()
	// asBefore holds that 2.0.0 serves, whole, with its data.
	asBefore := func(t *testing.T) {
		t.Helper()
		u.t = t
		if _, body := u.get("/api/method/version"); !strings.Contains(body, `"erpnext": "15.1.1"`) {
			t.Errorf("versions: %s", body)
		}
		code, page := u.get("/login")
		assets := assetPath.FindAllString(page, -1)
		if code != http.StatusOK || len(assets) == 0 {
			t.Errorf("the login page answers %d, with the assets %q", code, assets)
		}
		for _, asset := range assets {
			if code, _ := u.get(asset); code != http.StatusOK {
				t.Errorf("%s answers %d", asset, code)
			}
		}
		status := u.must("status", "--env-file", "")
		if !strings.Contains(status, "version         2.0.0") || strings.Contains(status, "✗") || !strings.Contains(status, "The deploy lock is free") {
			t.Errorf("status:\n%s", status)
		}
		for _, service := range []string{"scheduler", "queue-short", "queue-long"} {
			if !regexp.MustCompile(`[✓…] ` + service + ` +running`).MatchString(status) {
				t.Errorf("%s does not run:\n%s", service, status)
			}
		}
		if now := u.data(); now != data {
			t.Errorf("the data have changed:\n%s", firstDifference(data, now))
		}
		if crontab := u.onHost("sh", "-c", "crontab -l 2>/dev/null || true"); crontab != "" {
			t.Errorf("left in the crontab: %s", crontab)
		}
	}
	// fails holds how a release fails and what is said of it.
	fails := func(t *testing.T, u *user, args []string, code int, texts ...string) {
		t.Helper()
		u.t = t
		got, _, errs := u.run(args...)
		if got != code {
			t.Errorf("exit %d, want %d\n%s", got, code, errs)
		}
		for _, text := range texts {
			if !strings.Contains(errs, text) {
				t.Errorf("%q is not in\n%s", text, errs)
			}
		}
	}

	t.Run("a patch fails", func(t *testing.T) {
		fails(t, u, deploy("3.0.0"), cli.ExitRolledBack,
			"patch erpnext.patches.v15_1.merge_customers on erp.localhost failed", "Unknown column 'no_such_column'",
			"site: 2.0.0 is live again and answers", "next: correct erpnext/patches/v15_1/merge_customers.py in the app erpnext", "log: ")
		asBefore(t)
	})

	t.Run("jobs do not end", func(t *testing.T) {
		u.t = t
		u.must("bench", "--env-file", "", "--", "--site", sandbox.Site, "execute", "frappe.enqueue",
			"--kwargs", "{'method': 'frappe.utils.background_jobs.test_job', 's': 15}")
		fails(t, u.with("DRAIN_SECONDS=2"), deploy("3.2.0"), cli.ExitFailed,
			"step drain failed", "jobs have not ended in 2 s", "site: 2.0.0 is live, as it was: nothing was changed")
		asBefore(t)
	})

	main := u.env("COMPOSE_FILES")
	t.Run("a container is not healthy", func(t *testing.T) {
		u.t = t
		override := u.write("unhealthy.yaml", []byte("services:\n  backend:\n    healthcheck:\n      test: [CMD, \"false\"]\n      interval: 1s\n      retries: 2\n      start_period: 0s\n"))
		fails(t, u.with("COMPOSE_FILES="+main+","+override), deploy("3.2.0"), cli.ExitRolledBack,
			"step verify failed", "not all containers of 3.2.0 are well", "site: 2.0.0 is live again")
		asBefore(t)
	})

	t.Run("it runs but has no assets", func(t *testing.T) {
		u.t = t
		override := u.write("bare.yaml", []byte("services:\n  frontend:\n    command: [sh, -c, \"rm -rf assets/*/dist; exec nginx-entrypoint.sh\"]\n"))
		// The cache stays up, and has what the new release left there.
		hooks := u.hooks(t, "after-migrate", `docker exec "$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=redis-cache)" redis-cli set assets_json "of the new release"`)
		fails(t, u.with("COMPOSE_FILES="+main+","+override, "HOOKS_DIR="+hooks), deploy("3.2.0"), cli.ExitRolledBack, "step verify failed", "assets are missing: /assets/", "site: 2.0.0 is live again")
		asBefore(t)
	})

	t.Run("the database refuses", func(t *testing.T) {
		u.t = t
		change := func(from, to string) {
			u.onHost("docker", "exec", u.container("backend"), "sed", "-i", `s/"db_password": "`+from+`/"db_password": "`+to+`/`, "sites/"+sandbox.Site+"/site_config.json")
		}
		change("", "not-")
		fails(t, u, deploy("3.2.0"), cli.ExitFailed, "step check failed", "Access denied", "nothing was changed")
		change("not-", "")
		asBefore(t)
	})

	t.Run("a hook stops it", func(t *testing.T) {
		u.t = t
		hooks := u.hooks(t, "before-deploy", `echo "no releases on a Friday: $RELEASE_VERSION over $RELEASE_PREVIOUS"; exit 1`)
		fails(t, u.with("HOOKS_DIR="+hooks), deploy("3.2.0"), cli.ExitFailed, "step before-deploy failed", "no releases on a Friday: 3.2.0 over 2.0.0", "nothing was changed")
		asBefore(t)
	})

	t.Run("the disk is full at the backup", func(t *testing.T) {
		u.t = t
		hooks := u.hooks(t, "before-deploy", `cd "$RELEASE_DIR/../../backups"; mkdir "$RELEASE_RUN"; ln -s /dev/full "$RELEASE_RUN/$RELEASE_SITES-database.sql.gz.part"`)
		fails(t, u.with("HOOKS_DIR="+hooks), deploy("3.1.0"), cli.ExitFailed, "step backup failed", "o space left on device", "nothing was changed")
		asBefore(t)
	})

	t.Run("Ctrl-C before the critical part", func(t *testing.T) {
		u.t = t
		hooks := u.hooks(t, "before-deploy", `touch "$HOME/in-hook"; while :; do sleep 0.1; done`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for u.onHost("sh", "-c", "ls in-hook 2>/dev/null || true") == "" {
				time.Sleep(100 * time.Millisecond)
			}
			cancel()
		}()
		var errs strings.Builder
		other := u.with("HOOKS_DIR=" + hooks)
		if code := cli.Run(ctx, deploy("3.2.0"), other.environ, strings.NewReader(""), io.Discard, &errs); code != cli.ExitInterrupted {
			t.Errorf("exit %d\n%s", code, errs.String())
		}
		asBefore(t)
	})

	t.Run("a migration is killed", func(t *testing.T) {
		u.t = t
		// As the kernel does when memory runs out.
		hooks := u.hooks(t, "before-migrate", backendOnHost+`
			docker exec -d "$id" bash -c 'until found=$(grep -la "m[i]grate" /proc/[0-9]*/cmdline); do sleep 0.05; done
				for one in $found; do one=${one#/proc/}; kill -9 "${one%/cmdline}"; done'`)
		fails(t, u.with("HOOKS_DIR="+hooks), deploy("3.1.0"), cli.ExitRolledBack, "release 3.1.0 did not go live", "site: 2.0.0 is live again")
		asBefore(t)
	})

	t.Run("it can't be put back", func(t *testing.T) {
		u.t = t
		hooks := u.hooks(t, "before-migrate", `cd "$RELEASE_DIR/../../backups/$RELEASE_RUN"; cp "$RELEASE_SITES-database.sql.gz" "$HOME/good.sql.gz"; echo broken >"$RELEASE_SITES-database.sql.gz"`)
		broken := u.with("HOOKS_DIR=" + hooks)
		fails(t, broken, deploy("3.0.0"), cli.ExitNeedsPerson, "held in maintenance mode", "pipeline unlock --undo", "runner undo", "log: ")
		code := 0
		for deadline := time.Now().Add(time.Minute); code != http.StatusServiceUnavailable && time.Now().Before(deadline); {
			if code, _ = u.get("/api/method/ping"); code == http.StatusOK {
				break
			}
		}
		if code != http.StatusServiceUnavailable {
			t.Errorf("half a migration is live, or nothing: ping answers %d", code)
		}
		fails(t, u, deploy("3.2.0"), cli.ExitUsage, "has not come to an end: it is held", "pipeline unlock --undo")
		fails(t, u, []string{"unlock", "--env-file", ""}, cli.ExitUsage, "is held, while step migrate was undone", "--resume")
		u.onHost("sh", "-c", `cp good.sql.gz "$(ls -d `+sandbox.Project+`/backups/*3.0.0* | tail -n 1)/`+sandbox.Site+`-database.sql.gz"`)
		u.must("unlock", "--undo", "--env-file", "")
		asBefore(t)
	})

	t.Run("a swap with other data services is refused", func(t *testing.T) {
		u.t = t
		override := u.write("other-db.yaml", []byte("services:\n  redis-cache:\n    command: [redis-server, --save, \"\", --maxmemory, 128mb]\n"))
		fails(t, u.with("COMPOSE_FILES="+main+","+override), deploy("3.2.0", "--strategy", "swap"), cli.ExitFailed, "step check failed", "use the strategy cycle", "nothing was changed")
		asBefore(t)
	})

	t.Run("a swap whose containers are not healthy", func(t *testing.T) {
		u.t = t
		override := u.write("unhealthy.yaml", []byte("services:\n  backend:\n    healthcheck:\n      test: [CMD, \"false\"]\n      interval: 1s\n      retries: 2\n      start_period: 0s\n"))
		fails(t, u.with("COMPOSE_FILES="+main+","+override), deploy("3.2.0", "--strategy", "swap"), cli.ExitFailed, "step start-new failed", "nothing was changed")
		asBefore(t)
	})

	t.Run("two at once, and another migrate", func(t *testing.T) {
		u.t = t
		u.must("bench", "--env-file", "", "--", "--site", sandbox.Site, "set-config", "-p", "slow_patch_seconds", "1")
		hooks := u.hooks(t, "before-migrate", `touch "$HOME/waiting"; until [ -e "$HOME/go" ]; do sleep 0.1; done`+"\n"+backendOnHost+`
			docker exec -d "$id" /home/frappe/frappe-bench/env/bin/python -c 'import filelock, time
with filelock.FileLock("sites/`+sandbox.Site+`/locks/bench_migrate.lock"):
    open("/tmp/held", "w").close()
    time.sleep(4)'
			until docker exec "$id" test -e /tmp/held; do sleep 0.1; done`,
			"after-deploy", `echo "told nobody about $RELEASE_VERSION"; exit 1`)
		done := make(chan string, 1)
		first := u.with("HOOKS_DIR=" + hooks)
		go func() {
			code, _, errs := first.run(deploy("3.1.0")...)
			if code != 0 {
				done <- errs
			}
			close(done)
		}()
		for u.onHost("sh", "-c", "ls waiting 2>/dev/null || true") == "" {
			time.Sleep(100 * time.Millisecond)
		}
		second := u.with()
		fails(t, second, deploy("3.2.0"), cli.ExitUsage, "is under way since", "3.1.0")
		if status := second.must("status", "--env-file", ""); !strings.Contains(status, "(running)") || !strings.Contains(status, "(at before-migrate)") {
			t.Errorf("status:\n%s", status)
		}
		fails(t, second, []string{"unlock", "--undo", "--env-file", ""}, cli.ExitUsage, "is under way")
		u.onHost("touch", "go")
		if errs := <-done; errs != "" {
			t.Fatal(errs)
		}
		log := u.onHost("sh", "-c", "cat "+sandbox.Project+"/runs/*3.1.0*/log | tail -n 200")
		for _, want := range []string{"another migrate runs on " + sandbox.Site + ": waiting for it", "warning: the hook after-deploy ended with 1"} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not in\n%s", want, log)
			}
		}
		if _, body := u.get("/api/method/version"); !strings.Contains(body, `"erpnext": "15.1.3"`) {
			t.Errorf("versions: %s", body)
		}
	})

	t.Run("back to the release before, with its data", func(t *testing.T) {
		u.t = t
		u.note("after 3.1.0")
		out := u.must("rollback", "--yes", "--restore-data", "--env-file", "")
		if !strings.Contains(out, ":2.0.0@sha256:") {
			t.Errorf("printed %q", out)
		}
		asBefore(t)
		if history := u.must("history", "--env-file", ""); strings.Count(history, "\n2.0.0") != 2 {
			t.Errorf("history:\n%s", history)
		}
	})

	t.Run("a swap without a migration, and back", func(t *testing.T) {
		u.t = t
		u.must(deploy("3.2.0", "--strategy", "swap")...)
		var record release.Record
		if err := json.Unmarshal([]byte(u.must("show", "3.2.0", "--json", "--env-file", "")), &record); err != nil {
			t.Fatal(err)
		}
		if record.Strategy != "swap" || record.Downtime != 0 {
			t.Errorf("%s with a downtime of %v s", record.Strategy, record.Downtime)
		}
		if _, body := u.get("/api/method/version"); !strings.Contains(body, `"message": "15.1.1"`) && !strings.Contains(body, `"frappe": "15.1.1"`) {
			t.Errorf("versions: %s", body)
		}
		u.note("under 3.2.0")
		u.must("rollback", "--yes", "--strategy", "swap", "--env-file", "")
		if _, body := u.get("/api/resource/Note?filters=" + url.QueryEscape(`{"title": "under 3.2.0"}`)); !strings.Contains(body, `"name"`) {
			t.Errorf("a note was lost: %s", body)
		}
		if status := u.must("status", "--env-file", ""); !strings.Contains(status, "version         2.0.0") || strings.Contains(status, "✗") {
			t.Errorf("status:\n%s", status)
		}
	})

	t.Run("prune keeps what a rollback needs", func(t *testing.T) {
		u.t = t
		out := u.with("KEEP_RELEASES=1").must("prune", "--yes", "--env-file", "")
		if !strings.Contains(out, "image of 1.0.0") || strings.Contains(out, "image of 2.0.0") || strings.Contains(out, "image of 3.2.0") {
			t.Errorf("printed\n%s", out)
		}
		fails(t, u, []string{"rollback", "1.0.0", "--yes", "--env-file", ""}, cli.ExitUsage, "its image is not on the host any more")
		u.must("rollback", "3.2.0", "--yes", "--env-file", "")
	})

	t.Run("a registry with a password, which expires", func(t *testing.T) {
		u.t = t
		const password = "open-sesame-2027"
		var expired atomic.Bool
		address := u.hostsRegistry("robot", password, func(r *http.Request) bool {
			return expired.Load() && strings.HasPrefix(r.UserAgent(), "docker/")
		})
		private := u.with("REGISTRY="+address, "REGISTRY_USERNAME=robot", "REGISTRY_PASSWORD="+password)
		private.must(append([]string{"push", "--skip-smoke-test"}, u.apps("3.3.0", apps.Version1().With("erpnext", "v15.1.1"))...)...)
		expired.Store(true)
		fails(t, private, deploy("3.3.0"), cli.ExitFailed, "the registry refuses robot, whose password may have expired", "nothing was changed")
		expired.Store(false)
		private.must(deploy("3.3.0")...)
		if _, body := u.get("/api/method/version"); !strings.Contains(body, `"frappe": "15.1.0"`) {
			t.Errorf("versions: %s", body)
		}
		if found := u.onHostWith(password, "sh", "-c", "grep -rlF -f - /home/deploy /var/log /tmp 2>/dev/null | head -n 3; true"); found != "" {
			t.Errorf("the registry's password is on the host in %s", found)
		}
	})

	t.Run("the disk is full at the migration", func(t *testing.T) {
		u.t = t
		u.must(append([]string{"push", "--skip-smoke-test"}, u.apps("3.4.0", apps.Version1().With("erpnext", "v15.1.3"))...)...)
		// To change all of these at once, the database needs room.
		for n := range 30 {
			u.query(fmt.Sprintf("insert into tabCustomer (name, customer_name, territory) select concat('c', seq), 'Customer', 'denmark' from seq_%d_to_%d", n*10_000+1, (n+1)*10_000))
		}
		if err := u.world.Host.ShrinkVolumes(t.Context()); err != nil {
			t.Fatal(err)
		}
		u.eventually("ping", func() error {
			if code, body := u.get("/api/method/ping"); code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		const sum = "checksum table tabCustomer, tabNote, `tabPatch Log`"
		before := u.query(sum)
		// MariaDB makes room for undo logs 64 MB at a time. There is none for the
		// backup either, until somebody makes some.
		fails(t, u, deploy("3.4.0"), cli.ExitNeedsPerson,
			"patch erpnext.patches.v15_1.recount_stock on erp.localhost failed", "held in maintenance mode", "next: make room on the host", "pipeline unlock --undo")
		if err := u.world.Host.GrowVolumes(t.Context()); err != nil {
			t.Fatal(err)
		}
		u.must("unlock", "--undo", "--env-file", "")
		if status := u.must("status", "--env-file", ""); !strings.Contains(status, "version         3.3.0") || !strings.Contains(status, "The deploy lock is free") {
			t.Errorf("status:\n%s", status)
		}
		if after := u.query(sum); after != before {
			t.Errorf("the data were\n%s\nand are\n%s", before, after)
		}
	})
}

// eventually waits until there is no error, for up to a minute.
func (u *user) eventually(what string, try func() error) {
	u.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("%s: %v", what, err)
		}
	}
}

// backendOnHost puts the id of the running backend into $id of a hook.
const backendOnHost = `id=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter label=com.docker.compose.service=backend | head -n 1)`

// hooks makes a folder with hooks: pairs of name and script.
func (u *user) hooks(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, pairs[i]), []byte("#!/bin/sh\nset -eu\n"+pairs[i+1]+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	u.onHost("rm", "-f", "in-hook", "waiting", "go")
	return dir
}

// env gives a value of the user's environment.
func (u *user) env(name string) string {
	for i := len(u.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(u.environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// note writes a document.
func (u *user) note(title string) {
	u.t.Helper()
	if code, body := u.ask(http.MethodPost, "/api/resource/Note", `{"title": "`+title+`"}`); code != http.StatusOK {
		u.t.Fatalf("a note was answered with %d: %s", code, body)
	}
}

// data is everything in the site's database, but for what the scheduler notes
// every minute.
func (u *user) data() string {
	u.t.Helper()
	return u.withDatabase(`mariadb-dump --host=db --user="$name" --skip-dump-date --skip-extended-insert --ignore-table="$name.tabScheduled Job Log" "$name"`)
}

// query asks the site's database.
func (u *user) query(sql string) string {
	u.t.Helper()
	return u.withDatabase(`mariadb --host=db --user="$name" --batch "$name" --execute "$1"`, sql)
}

// withDatabase runs a script that knows the site's database by $name.
func (u *user) withDatabase(script string, arguments ...string) string {
	u.t.Helper()
	return u.onHost(append([]string{"docker", "exec", u.container("backend"), "sh", "-euc", `
		config=sites/$0/site_config.json
		name=$(jq --raw-output .db_name "$config")
		MYSQL_PWD=$(jq --raw-output .db_password "$config")
		export MYSQL_PWD
		` + script, sandbox.Site}, arguments...)...)
}

func firstDifference(a, b string) string {
	one, two := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(one), len(two)) {
		if one[i] != two[i] {
			return one[i] + "\n" + two[i]
		}
	}
	return "one is longer"
}
