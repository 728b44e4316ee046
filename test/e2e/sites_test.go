package e2e

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// The sites that the bench has besides the one that the release makes.
const (
	secondSite = "two.localhost"
	closedSite = "shut.localhost"       // by an administrator
	halfSite   = "unfinished.localhost" // making it was not finished
)

// madeByRoot is what reporting tools and consultants leave in a site's database.
const madeByRoot = "create view report as select name, customer_name from tabCustomer;\n" +
	"create table audit (at datetime, what text);\n" +
	"create trigger audited after insert on tabNote for each row insert into audit values (now(), new.name);\n" +
	"create procedure tidy() delete from audit;\n" +
	"create function twice(n int) returns int deterministic return n * 2;\n" +
	"create event nightly on schedule every 1 day starts '2030-01-01' do call tidy();\n"

func (u *user) otherSites(t *testing.T) {
	for _, site := range []string{secondSite, closedSite} {
		if code, out, errs := u.bench(u.env("DB_ROOT_PASSWORD")+"\n", "new-site", site, "--admin-password", "secret-of-"+site, "--no-mariadb-socket", "--install-app", "erpnext"); code != 0 {
			t.Fatalf("new-site %s: exit %d\n%s%s", site, code, out, errs)
		}
	}
	u.must("bench", "--", "--site", closedSite, "set-maintenance-mode", "on")
	u.onHost("docker", "exec", u.container("backend"), "sh", "-c", `mkdir sites/`+halfSite+` && echo '{"db_name": "_half", "db_password": "x"}' >sites/`+halfSite+`/site_config.json`)
	for _, site := range []string{sandbox.Site, secondSite} {
		u.onHost("docker", "exec", u.container("db"), "sh", "-euc", asRoot+` "$0" --execute "$1"`, u.database(site), madeByRoot)
	}
	u.queryOn(secondSite, "insert into tabCustomer (name, customer_name, territory) values ('c1', 'Of the second site', 'denmark')")
	u.note("audited")
}
